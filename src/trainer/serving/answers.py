"""Answer turns in process with adapter and base model, and find out which of them a server's answers come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from trainer.chat import ChatEncoder
from trainer.endpoint.answer import parse_calls
from trainer.generation.settings import DecodeSettings
from trainer.generation.shared_prefixes import n_shared
from trainer.generation.teacher_forcing import DecodedTurn, decode_turns
from trainer.lora_model import adapter_off
from trainer.server_eval.tokens import ServedTurn
from trainer.serving.answer_fit import AnswerFit, answer_fit
from trainer.serving.parity import AnswerDifference, Kind
from trainer.tool_calls import ToolCallFormat
from trainer.types import ToolEvalExample
from trainer.util.progress import progress_bar

_ENOUGH_TELLING = 4
_MOST_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class OwnTurn:
    """A turn with the answers of the expected and of the other model; telling if they differ by more than rounding."""

    example: ToolEvalExample
    expected: DecodedTurn
    other: DecodedTurn
    is_telling: bool


class Compared(NamedTuple):
    """How many answers were compared, how many of them can tell base and adapter apart, and those that differ."""

    n_compared: int
    n_telling: int
    differences: list[AnswerDifference]


class AnswerChecker:
    """Answers in process, and compares a server's answers.

    The expected model is the one with the adapter if `adapted` is set, else the base model. `share` comes from
    `rounding_share`.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: DecodeSettings,
        *,
        encoder: ChatEncoder,
        fmt: ToolCallFormat,
        adapted: bool,
        share: float,
    ) -> None:
        self._model, self._settings, self._encoder, self._fmt = model, settings, encoder, fmt
        self._adapted, self._share = adapted, share

    def choose(self, candidates: Sequence[ToolEvalExample], n_turns: int) -> list[OwnTurn]:
        """Answer candidates in process and return at most `n_turns`, in order, preferring those that are telling.

        It answers `n_turns` candidates, and more if too few of them are telling.
        """
        turns: list[OwnTurn] = []
        for start in range(0, min(len(candidates), _MOST_ROUNDS * n_turns), n_turns):
            turns += self._answer(candidates[start : start + n_turns])
            if sum(turn.is_telling for turn in turns) >= min(_ENOUGH_TELLING, n_turns):
                break
        preferred = sorted(range(len(turns)), key=lambda index: (not turns[index].is_telling, index))
        return [turns[index] for index in sorted(preferred[:n_turns])]

    def compare(self, turns: Sequence[OwnTurn], served: Sequence[ServedTurn]) -> Compared:
        """Compare the served answers. Turns without an answer, on either side, are left out."""
        pairs = [
            (own, turn)
            for own, turn in zip(turns, served, strict=True)
            if turn.error is None and own.expected.finish_reason != "skipped_for_length"
        ]
        found = [self._difference(own, turn) for own, turn in pairs]
        differences = [difference for difference in found if difference is not None]
        return Compared(len(pairs), sum(own.is_telling for own, _ in pairs), differences)

    def _answer(self, examples: Sequence[ToolEvalExample]) -> list[OwnTurn]:
        decoded = []
        with progress_bar("Answering in process", total=2 * len(examples), unit="turns") as advance:
            for adapted in (self._adapted, not self._adapted):
                with adapter_off(self._model, off=not adapted):
                    decoded.append(decode_turns(self._model, examples, self._settings, on_done=advance))
        return [
            OwnTurn(example, expected, other, self._is_telling(example, expected, other))
            for example, expected, other in zip(examples, *decoded, strict=True)
        ]

    def _is_telling(self, example: ToolEvalExample, expected: DecodedTurn, other: DecodedTurn) -> bool:
        if (expected.token_ids, expected.finish_reason) == (other.token_ids, other.finish_reason):
            return False
        return not self._fit(example, other.token_ids, ended=other.finish_reason == "stop", adapted=self._adapted).fits

    def _fit(self, example: ToolEvalExample, answer: Sequence[int], *, ended: bool, adapted: bool) -> AnswerFit:
        ends_with = self._settings.stop_token_ids if ended else ()
        with adapter_off(self._model, off=not adapted):
            return answer_fit(self._model, example.prompt_ids, answer, ends_with=ends_with, share=self._share)

    def _difference(self, own: OwnTurn, turn: ServedTurn) -> AnswerDifference | None:
        name, text = (own.example.session_id, own.example.turn), self._encoder.decode(own.expected.token_ids)
        if turn.answer_ids is None:
            text_kind = self._kind_of_text(own, turn)
            if text_kind is None:
                return None
            return AnswerDifference(*name, None, None, text, _text_of(turn), text_kind)
        given = list(turn.answer_ids)
        while given and given[-1] in self._settings.stop_token_ids:
            given.pop()
        ended = turn.finish_reason == "stop"
        if (tuple(given), ended) == (own.expected.token_ids, own.expected.finish_reason == "stop"):
            return None
        fit = self._fit(own.example, given, ended=ended, adapted=self._adapted)
        kind: Kind = "rounding"
        if not fit.fits:
            other = self._fit(own.example, given, ended=ended, adapted=not self._adapted)
            kind = "other_model" if other.fits else "neither"
        first = n_shared(own.expected.token_ids, given)
        margin = round(fit.margins[first], 4) if first < len(fit.margins) else None
        return AnswerDifference(*name, first, margin, text, self._encoder.decode(given), kind)

    def _kind_of_text(self, own: OwnTurn, turn: ServedTurn) -> Kind | None:
        """Return why an answer without tokens differs; None if it is equal."""
        answered = (turn.content.strip(), _calls(turn))
        if not turn.tool_calls:
            answered = self._message(turn.content, own.example)
        if self._message(self._encoder.decode(own.expected.token_ids), own.example) == answered:
            return None
        is_other = self._message(self._encoder.decode(own.other.token_ids), own.example) == answered
        return "other_model" if is_other else "unknown"

    def _message(self, text: str, example: ToolEvalExample) -> tuple[str, list[Any]]:
        parsed = self._fmt.parse(text, tools=example.tools)
        if any(call.status != "ok" for call in parsed.calls):
            return text.strip(), []
        return parsed.content.strip(), [(call.name, call.arguments) for call in parsed.calls]


def _calls(turn: ServedTurn) -> list[Any]:
    _, calls = parse_calls(turn.tool_calls, finish_reason="stop")
    return [(call.name, call.arguments) for call in calls]


def _text_of(turn: ServedTurn) -> str:
    text, _ = parse_calls(turn.tool_calls, finish_reason="stop")
    return "\n".join(part for part in (turn.content, text) if part)
