"""The recipe of a training, chosen from its data, model and hardware."""

from trainer.training.recipe.facts import Facts
from trainer.training.recipe.rules import SELECTION_KEYS, Choice, choices, settled, with_choices

__all__ = ["SELECTION_KEYS", "Choice", "Facts", "choices", "settled", "with_choices"]
