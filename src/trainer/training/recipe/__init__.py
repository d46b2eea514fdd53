"""The recipe of a training, chosen from its data, model and hardware."""

from trainer.training.recipe.choices import SELECTION_KEYS, Choice, choices, settled, with_choices
from trainer.training.recipe.facts import Facts

__all__ = ["SELECTION_KEYS", "Choice", "Facts", "choices", "settled", "with_choices"]
