"""Compare a server's prompt tokens and greedy answers with those of the run. Asks no server itself."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from trainer.chat import ChatEncoder
from trainer.endpoint.answer import parse_calls
from trainer.generation.settings import DecodeSettings
from trainer.generation.shared_prefixes import n_shared
from trainer.generation.teacher_forcing import decode_turns
from trainer.server_eval.tokens import ServedTurn
from trainer.serving.logits import Prompt, logits_at
from trainer.tool_calls import ToolCallFormat
from trainer.types import ToolEvalExample

_N_MARGINS = 20


@dataclass(frozen=True, slots=True)
class PromptDifference:
    """A prompt that the server builds differently.

    `first` is the index of the first differing token, or None if only the counts are known. The texts begin a few
    tokens before it.
    """

    session_id: str
    turn: int
    n_trained: int
    n_served: int | None
    first: int | None
    trained: str
    served: str


@dataclass(frozen=True, slots=True)
class AnswerDifference:
    """A greedy answer that differs.

    `first` is the index of the first differing token, or None if the server returns only text. `margin` is the
    difference of the two tokens' logits there, in the model in process. Near 0 they are about equally likely, and
    rounding decides.
    """

    session_id: str
    turn: int
    first: int | None
    margin: float | None
    in_process: str
    served: str


@dataclass(frozen=True, slots=True)
class Parity:
    """The result of a comparison over `n_turns` turns.

    `sources` counts the sources of the served prompts. `n_skipped` more turns were not asked, because their prompt and
    answer might exceed the run's context.
    """

    n_turns: int
    n_skipped: int
    n_errors: int
    sources: dict[str, int]
    n_unknown_prompts: int
    prompts: tuple[PromptDifference, ...]
    n_compared: int
    answers: tuple[AnswerDifference, ...]
    errors: tuple[str, ...]

    @property
    def prompts_agree(self) -> bool:
        """Whether there were prompts and all of them are equal. A prompt that was not compared counts as different."""
        return bool(self.n_turns) and not (self.prompts or self.n_unknown_prompts or self.n_errors)

    @property
    def answer_agreement(self) -> float | None:
        """Identical greedy answers / compared answers; None if none was compared. Higher is better."""
        return 1 - len(self.answers) / self.n_compared if self.n_compared else None

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        shares = {"prompts_agree": self.prompts_agree, "answer_agreement": self.answer_agreement}
        return {**shares, **asdict(self)}


class AnswerChecker:
    """Decodes turns in process, and compares the server's answers with them."""

    def __init__(
        self, model: nn.Module, settings: DecodeSettings, *, encoder: ChatEncoder, fmt: ToolCallFormat
    ) -> None:
        self._model, self._settings, self._encoder, self._fmt = model, settings, encoder, fmt
        self._n_margins = 0

    def compare(
        self,
        examples: Sequence[ToolEvalExample],
        served: Sequence[ServedTurn],
        *,
        on_done: Callable[[int], None] = lambda n_turns: None,
    ) -> tuple[int, list[AnswerDifference]]:
        """Return how many answers were compared, and those that differ. Turns too long to decode are left out."""
        pairs = [(e, s) for e, s in zip(examples, served, strict=True) if s.error is None]
        decoded = decode_turns(self._model, [example for example, _ in pairs], self._settings, on_done=on_done)
        differences, n_compared = [], 0
        for (example, turn), own in zip(pairs, decoded, strict=True):
            if own.finish_reason == "skipped_for_length":
                continue
            n_compared += 1
            difference = self._difference(example, list(own.token_ids), turn)
            if difference is not None:
                differences.append(difference)
        return n_compared, differences

    def _difference(self, example: ToolEvalExample, own: list[int], turn: ServedTurn) -> AnswerDifference | None:
        text = self._encoder.decode(own)
        name = (example.session_id, example.turn)
        if turn.answer_ids is None:
            served = _text_of(turn)
            answered = (turn.content.strip(), _calls(turn)) if turn.tool_calls else self._message(turn.content, example)
            same = self._message(text, example) == answered
            return None if same else AnswerDifference(*name, None, None, text, served)
        given = list(turn.answer_ids)
        while given and given[-1] in self._settings.stop_token_ids:
            given.pop()
        if given == own:
            return None
        first = n_shared(own, given)
        margin = self._margin(example, own, given, first)
        return AnswerDifference(*name, first, margin, text, self._encoder.decode(given))

    def _margin(self, example: ToolEvalExample, own: list[int], given: list[int], first: int) -> float | None:
        if self._n_margins >= _N_MARGINS or not (first < len(own) and first < len(given)):
            return None
        self._n_margins += 1
        ids = [*example.prompt_ids, *own[:first]]
        logits = logits_at(self._model, Prompt(ids, [len(ids) - 1]))[0]
        return round(float(logits[own[first]] - logits[given[first]]), 4)

    def _message(self, text: str, example: ToolEvalExample) -> tuple[str, list[Any]]:
        parsed = self._fmt.parse(text, tools=example.tools)
        if any(call.status != "ok" for call in parsed.calls):
            return text.strip(), []
        return parsed.content.strip(), [(call.name, call.arguments) for call in parsed.calls]


def compare_prompts(
    examples: Sequence[ToolEvalExample], served: Sequence[ServedTurn], *, decode: Callable[[Sequence[int]], str]
) -> list[PromptDifference]:
    """Return the turns whose served prompt differs from that of training. Unknown prompts are left out."""
    differences = []
    for example, turn in zip(examples, served, strict=True):
        own = example.prompt_ids
        if turn.error is not None or turn.n_prompt is None:
            continue
        if turn.prompt_ids is None:
            same, first = turn.n_prompt == len(own), None
        else:
            first = n_shared(own, turn.prompt_ids)
            same = own == turn.prompt_ids
        if not same:
            start = max((first or 0) - 5, 0)
            texts = [
                decode(ids[start : start + 15]) if first is not None else "" for ids in (own, turn.prompt_ids or ())
            ]
            difference = PromptDifference(example.session_id, example.turn, len(own), turn.n_prompt, first, *texts)
            differences.append(difference)
    return differences


def _calls(turn: ServedTurn) -> list[Any]:
    _, calls = parse_calls(turn.tool_calls, finish_reason="stop")
    return [(call.name, call.arguments) for call in calls]


def _text_of(turn: ServedTurn) -> str:
    text, _ = parse_calls(turn.tool_calls, finish_reason="stop")
    return "\n".join(part for part in (turn.content, text) if part)
