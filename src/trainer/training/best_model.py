"""Which metrics can choose the best checkpoint, and which direction of each is better. Evaluates nothing."""

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from trainer.errors import ConfigError
from trainer.scoring.rates import RATES
from trainer.scoring.score import MACRO_F1

HEADLINE = "turn_exact"
"""The metric that chooses if the configuration names none. A low perplexity does not show right decisions to call."""

CHOOSING: Mapping[str, Literal["higher", "lower"]] = {
    **{rate.name: rate.better for rate in RATES},
    MACRO_F1: "higher",
    **dict.fromkeys(("loss", "perplexity", "perplexity_call_tokens", "perplexity_prose_tokens"), "lower"),
}
"""The metrics that can choose a checkpoint, each with its better direction."""


def best_model_arguments(train: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metric that chooses the best checkpoint, and its direction, as TrainingArguments takes them.

    Empty if nothing has to be chosen: no `load_best_model_at_end`, `save_strategy: best` or `early_stopping`. Raises
    `ConfigError` for a metric that no evaluation measures, for a direction that contradicts it, and for early stopping
    without evaluations.
    """
    stops_early = train.get("early_stopping") is not None
    if stops_early and train.get("eval_strategy", "no") in ("no", False):
        raise ConfigError("train.early_stopping: needs evaluations during training; set train.eval_strategy to steps")
    given = train.get("metric_for_best_model")
    if given is None and not (
        stops_early or train.get("load_best_model_at_end") or train.get("save_strategy") == "best"
    ):
        return {}
    name = HEADLINE if given is None else str(given).removeprefix("eval_")
    if name not in CHOOSING:
        near = difflib.get_close_matches(name, CHOOSING, n=1, cutoff=0.5)
        known = f"did you mean {near[0]}?" if near else f"known: {', '.join(CHOOSING)}"
        raise ConfigError(f"train.metric_for_best_model: no evaluation measures {given!r}; {known}")
    higher = CHOOSING[name] == "higher"
    if train.get("greater_is_better") not in (None, higher):
        raise ConfigError(
            f"train.greater_is_better: {name} is better if it is {CHOOSING[name]}; leave the key out, it is known"
        )
    return {"metric_for_best_model": name, "greater_is_better": higher}
