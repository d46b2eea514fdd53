"""Everything that can be wrong with `train` and can be known from the configuration alone. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from trainer.config.problems import Problem
from trainer.config.rules.combinations import combination_problems
from trainer.config.rules.names import name_problems
from trainer.config.rules.numbers import number_problems
from trainer.config.rules.unused import unused_problems

RECIPE_SCHEDULE = "cosine"
"""The schedule of the learning rate that `train.recipe: auto` chooses, whatever the data."""

RULES = (number_problems, name_problems, combination_problems, unused_problems)


def training_problems(train: Mapping[str, Any]) -> list[Problem]:
    """Return the problems of `train`, with `run` merged over it and values converted, in the order of the rules."""
    if train.get("recipe") == "auto":
        train = {"lr_scheduler_type": RECIPE_SCHEDULE, **train}
    return [problem for rule in RULES for problem in rule(train)]
