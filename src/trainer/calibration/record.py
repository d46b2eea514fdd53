"""Keep the bias of a run in a file of its folder, and read it where answers are asked for. Fits nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from trainer.calibration.fit import Fit
from trainer.errors import DataError, OutputError
from trainer.run_layout import RunLayout
from trainer.util.records import read_record

MOST_BIAS = 100.0
"""The largest bias that servers accept, in both directions."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a run found out: the tokens that begin a call, with their texts, and the bias for a trade-off."""

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    tradeoff: float
    fit: Fit

    @property
    def logit_bias(self) -> dict[int, float]:
        """The bias of each token; empty without one."""
        return dict.fromkeys(self.token_ids, self.fit.bias) if self.fit.bias else {}

    def to_json(self, evaluation: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the content of the file; `evaluation` is what the bias does to the final evaluation, if known."""
        fit = self.fit
        return {
            "bias": fit.bias,
            "token_ids": list(self.token_ids),
            "tokens": list(self.tokens),
            "tradeoff": self.tradeoff,
            "note": fit.note,
            "n_sessions": fit.n_sessions,
            "n_turns": fit.n_turns,
            "saved": round(fit.saved, 4),
            "before": fit.before._asdict(),
            "after": fit.after._asdict(),
            "evaluation": evaluation,
            "curve": [point._asdict() for point in fit.curve],
        }


def without_curves(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of the file without its curves, for `metrics.json`."""
    kept = {key: value for key, value in record.items() if key != "curve"}
    if record.get("evaluation"):
        kept["evaluation"] = without_curves(record["evaluation"])
    return kept


class CallBias(BaseModel):
    """The part of the file that matters for answers. Other keys are for people."""

    model_config = ConfigDict(frozen=True)

    bias: Annotated[float, Field(ge=-MOST_BIAS, le=MOST_BIAS)]
    token_ids: tuple[Annotated[StrictInt, Field(ge=0)], ...]
    tokens: tuple[str, ...]

    @property
    def logit_bias(self) -> dict[str, float]:
        """The `logit_bias` of a request in OpenAI's protocol; empty without a bias."""
        return {str(token): self.bias for token in self.token_ids} if self.bias else {}


def read_call_bias(folder: Path) -> CallBias | None:
    """Return the bias of the run (or merged model) in a folder; None if it has none. Raises `OutputError`."""
    path = RunLayout(folder).calibration
    if not path.is_file():
        return None
    try:
        found = read_record(CallBias, path.read_bytes())
    except (OSError, DataError) as error:
        raise OutputError(
            f"{path}: cannot be read: {error}. Remove it to ask without a bias, or train the run again"
        ) from error
    return found if found.logit_bias else None


def request_bias(folder: Path, *, model: str, base: str) -> Mapping[str, float] | None:
    """Return the `logit_bias` of requests to a served `model` of the run in a folder; None if there is none.

    A model with the name of the `base` model is asked without it.
    """
    found = read_call_bias(folder) if model != base else None
    return found.logit_bias if found is not None else None
