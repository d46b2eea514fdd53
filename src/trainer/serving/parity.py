"""What a comparison of a server with training found, and the verdict. Asks no server and loads no model."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from trainer.generation.shared_prefixes import n_shared
from trainer.server_eval.tokens import ServedTurn
from trainer.types import ToolEvalExample

Kind = Literal["rounding", "other_model", "neither", "unknown"]
"""Why an answer differs: rounding explains it; it is the answer of the other model (base instead of adapter, or the
reverse); it is the answer of neither; or the server returned only text, so rounding cannot be told from other
weights."""

Cause = Literal[
    "no_turns",
    "no_answer",
    "prompt_differs",
    "prompt_unknown",
    "not_compared",
    "adapter_off",
    "adapter_on",
    "other_weights",
]
"""Why a server does not do what was trained."""

_UNEXPLAINED_SHARE = 0.1
"""Up to this share of answers may differ if only their text is known. Rounding changes about one answer in a hundred
(docs/serving.md), other weights most of them."""

_REMEDIES: dict[Cause, str] = {
    "no_turns": "lower eval.max_new_tokens_eval, or check data.eval_split",
    "no_answer": "see the errors below",
    "prompt_differs": "check the chat template of the server, its arguments, and the tokenizer",
    "prompt_unknown": "use a server that reports tokens, such as vLLM",
    "not_compared": "raise data.max_context_length, or lower eval.max_new_tokens_eval",
    "adapter_off": "check that the server loads this adapter (tool-sft serve), or serve it merged (tool-sft merge)",
    "adapter_on": "check which weights the server has under the base model's name",
    "other_weights": "serve this run's adapter on the base model that it was trained on, in the same precision",
}


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

    `first` is the index of the first differing token, or None if the server returns only text. `margin` is by how many
    logits the model in process prefers its own token there.
    """

    session_id: str
    turn: int
    first: int | None
    margin: float | None
    in_process: str
    served: str
    kind: Kind = "unknown"


class Verdict(NamedTuple):
    """Whether the server does what was trained, in one line for people. `cause` is None exactly if it does."""

    cause: Cause | None
    line: str


@dataclass(frozen=True, slots=True)
class Parity:
    """The result of a comparison over `n_turns` turns.

    `sources` counts the sources of the served prompts. `n_skipped` more turns were not asked, because their prompt and
    answer might exceed the run's context. `model` is the expected model, or None if only prompts were compared.
    `n_telling` counts the compared turns that base model and adapter answer differently in process, by more than
    rounding: only these can show which of the two answers.
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
    model: Literal["adapter", "base"] | None = None
    n_telling: int = 0

    @property
    def prompts_agree(self) -> bool:
        """Whether there were prompts and all of them are equal. A prompt that was not compared counts as different."""
        return bool(self.n_turns) and not (self.prompts or self.n_unknown_prompts or self.n_errors)

    @property
    def answer_agreement(self) -> float | None:
        """Identical greedy answers / compared answers; None if none was compared. Higher is better."""
        return 1 - len(self.answers) / self.n_compared if self.n_compared else None

    @property
    def verdict(self) -> Verdict:
        """Whether the server does what was trained: equal prompts, and answers that differ by no more than rounding."""
        cause = self._prompt_cause() or (self._answer_cause() if self.model is not None else None)
        if cause is None:
            return Verdict(None, f"parity: the server does what was trained; {self._agreement()}")
        return Verdict(cause, f"parity fails ({cause}): {self._reason(cause)}; {_REMEDIES[cause]}")

    @property
    def adapter_on(self) -> bool | None:
        """Whether the adapter answers; None if the answers cannot show it."""
        cause = self.verdict.cause
        if cause in ("adapter_on", "adapter_off"):
            return cause == "adapter_on"
        return self.model == "adapter" if cause is None and self.model is not None and self.n_telling else None

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        verdict = self.verdict
        facts = {"passed": verdict.cause is None, "cause": verdict.cause, "verdict": verdict.line}
        facts |= {"adapter_on": self.adapter_on, "prompts_agree": self.prompts_agree}
        return {**facts, "answer_agreement": self.answer_agreement, **asdict(self)}

    def _prompt_cause(self) -> Cause | None:
        if not self.n_turns:
            return "no_turns"
        if self.prompts:
            return "prompt_differs"
        if self.n_errors:
            return "no_answer"
        return "prompt_unknown" if self.n_unknown_prompts else None

    def _answer_cause(self) -> Cause | None:
        kinds = self._kinds()
        if not self.n_compared:
            return "not_compared"
        if kinds["neither"] or kinds["unknown"] > _UNEXPLAINED_SHARE * self.n_compared:
            return "other_weights"
        if kinds["other_model"]:
            return "adapter_off" if self.model == "adapter" else "adapter_on"
        return None

    def _kinds(self) -> Counter[Kind]:
        return Counter(answer.kind for answer in self.answers)

    def _agreement(self) -> str:
        text = f"all {self.n_turns} prompts are equal"
        if self.model is None:
            return text
        n_same, kinds = self.n_compared - len(self.answers), self._kinds()
        text += f", and {n_same} of {self.n_compared} answers"
        text += f" ({kinds['rounding']} more differ by rounding)" if kinds["rounding"] else ""
        text += (
            f" ({kinds['unknown']} differ, and without tokens rounding cannot be ruled out)" if kinds["unknown"] else ""
        )
        if not self.n_telling:
            return f"{text}, but they cannot show whether the adapter is on: base and adapter answer these turns alike"
        state = "on" if self.model == "adapter" else "off"
        return f"{text}; the adapter is {state} ({self.n_telling} turns show it)"

    def _reason(self, cause: Cause) -> str:
        kinds, n = self._kinds(), self.n_compared
        n_off, other = kinds["other_model"], "base model" if self.model == "adapter" else "adapter"
        reasons: dict[Cause, str] = {
            "no_turns": "no evaluation turn was asked",
            "no_answer": f"{self.n_errors} of {self.n_turns} turns got no answer",
            "prompt_differs": f"{len(self.prompts)} of {self.n_turns} prompts differ from those of training",
            "prompt_unknown": f"the server reports neither tokens nor a count for {self.n_unknown_prompts} prompts",
            "not_compared": "no answer could be compared",
            "adapter_off": f"{n_off} of {n} answers are those of the base model, so the adapter is off",
            "adapter_on": f"{n_off} of {n} answers are those of the adapter, not of the base model",
            "other_weights": f"{len(self.answers) - kinds['rounding']} of {n} answers differ by more than rounding"
            + (f", and {n_off} of them are the {other}'s" if n_off else f", and none is the {other}'s")
            + ", so the server has other weights",
        }
        return reasons[cause]


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
