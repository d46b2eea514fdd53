"""Judge the turns of a folder again, with everything that a report needs of each. Reads no file."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from trainer.scoring.judging import JudgedTurn
from trainer.scoring.score import TurnSpecs, judge_all
from trainer.tools.validation import ToolSpecs
from trainer.types import Prediction, Tool

TurnId = tuple[str, int]
"""A session and the index of its turn."""


@dataclass(frozen=True)
class JudgedState:
    """The turns of one state of a model, or of one reading of a server's answers, with their verdicts."""

    name: str
    predictions: tuple[Prediction, ...]
    judged: tuple[JudgedTurn, ...]
    all_specs: TurnSpecs

    @cached_property
    def by_id(self) -> dict[TurnId, tuple[Prediction, JudgedTurn]]:
        """Every turn by its session and index."""
        pairs = zip(self.predictions, self.judged, strict=True)
        return {(prediction.session_id, prediction.turn): (prediction, judged) for prediction, judged in pairs}

    def specs(self, prediction: Prediction) -> ToolSpecs:
        """The tools that a turn was judged by."""
        return self.all_specs.of(prediction)


def judge_state(name: str, predictions: Sequence[Prediction], tools: Sequence[Tool]) -> JudgedState:
    """Return the judged turns of a state. Raises `DataError` as scoring does."""
    return JudgedState(name, tuple(predictions), tuple(judge_all(predictions, tools)), TurnSpecs(tools))
