"""A verdict names one cause, and an answer fits a model if every token is the likeliest one up to rounding."""

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from tests.support.quick import tiny_model
from trainer.generation.settings import DecodeSettings
from trainer.generation.teacher_forcing import decode_turns
from trainer.serving.answer_fit import answer_fit, rounding_share
from trainer.serving.answers import AnswerChecker, OwnTurn
from trainer.serving.logits import Prompt, logits_at
from trainer.serving.parity import AnswerDifference, Cause, Kind, Parity, PromptDifference
from trainer.types import ToolEvalExample

PROMPT = PromptDifference("s", 1, 10, 11, 3, "a", "b")
GOOD = Parity(20, 0, 0, {"response": 20}, 0, (), 20, (), (), "adapter", 5)


def differing(kind: Kind, n: int) -> tuple[AnswerDifference, ...]:
    return tuple(AnswerDifference("s", i, 0, 1.0, "a", "b", kind) for i in range(n))


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({}, None),
        ({"answers": differing("rounding", 20)}, None),
        ({"answers": differing("unknown", 2)}, None),
        ({"answers": differing("unknown", 3)}, "other_weights"),
        ({"n_compared": 1, "answers": differing("unknown", 1)}, "other_weights"),
        ({"answers": differing("neither", 1)}, "other_weights"),
        ({"answers": differing("neither", 1) + differing("other_model", 19)}, "other_weights"),
        ({"answers": differing("other_model", 1)}, "adapter_off"),
        ({"answers": differing("other_model", 1), "model": "base"}, "adapter_on"),
        ({"n_turns": 0, "n_compared": 0}, "no_turns"),
        ({"n_errors": 1}, "no_answer"),
        ({"n_errors": 20, "n_compared": 0}, "no_answer"),
        ({"n_compared": 0}, "not_compared"),
        ({"n_compared": 0, "model": None}, None),
        ({"n_unknown_prompts": 1}, "prompt_unknown"),
        ({"prompts": (PROMPT,)}, "prompt_differs"),
        ({"prompts": (PROMPT,), "answers": differing("other_model", 20)}, "prompt_differs"),
        ({"prompts": (PROMPT,), "n_errors": 1}, "prompt_differs"),
    ],
)
def test_each_finding_has_its_cause(change: dict[str, Any], cause: Cause | None) -> None:
    found = replace(GOOD, **change)
    assert found.verdict.cause == cause
    assert found.to_json()["passed"] is (cause is None)
    assert found.verdict.line.startswith(f"parity fails ({cause}): " if cause else "parity: the server does what")
    assert "\n" not in found.verdict.line


def test_every_cause_can_be_written() -> None:
    written = {
        replace(GOOD, model=model, n_compared=0)._reason(cause) for cause in get_args(Cause) for model in ("base",)
    }
    assert len(written) == len(get_args(Cause))


def test_whether_the_adapter_is_on_follows_from_the_answers() -> None:
    assert GOOD.adapter_on is True
    assert replace(GOOD, model="base").adapter_on is False
    assert replace(GOOD, n_telling=0).adapter_on is None
    assert replace(GOOD, answers=differing("other_model", 1)).adapter_on is False
    assert replace(GOOD, answers=differing("neither", 1)).adapter_on is None
    assert replace(GOOD, model=None, n_compared=0).adapter_on is None


def test_a_turn_without_an_answer_or_no_turns_at_all_is_not_agreement() -> None:
    nothing = Parity(0, 0, 0, {}, 0, (), 0, (), ())
    assert not nothing.prompts_agree
    assert Parity(4, 0, 0, {"response": 4}, 0, (), 0, (), ()).prompts_agree
    assert not Parity(4, 0, 1, {"response": 3}, 0, (), 0, (), ("HTTP 500",)).prompts_agree


STOP = 3
SHARE = 1e-4


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return tiny_model(64).eval()


def greedy(model: Any, prompt: list[int]) -> list[int]:
    example = ToolEvalExample("s", 1, (), (), "", (), prompt_ids=tuple(prompt), target_ids=(5, STOP))
    settings = DecodeSettings(frozenset([STOP]), max_new_tokens=6, max_context_tokens=64)
    return list(decode_turns(model, [example], settings)[0].token_ids)


def test_a_greedy_answer_fits_and_every_changed_token_does_not(model: Any) -> None:
    prompt = [7, 8, 9, 10]
    answer = greedy(model, prompt)
    fit = answer_fit(model, prompt, answer, ends_with=(), share=SHARE)
    assert fit.fits
    assert len(fit.margins) == len(answer)
    for position, token in enumerate(answer):
        changed = [*answer[:position], (token + 1) % 64, *answer[position + 1 :]]
        found = answer_fit(model, prompt, changed, ends_with=(), share=SHARE)
        assert not found.fits
        assert found.margins[position] > 0
        assert max(found.margins[:position], default=0.0) < 1e-3


def test_the_end_of_an_answer_must_also_be_the_likeliest(model: Any) -> None:
    prompt = [7, 8, 9, 10]
    answer = greedy(model, prompt)
    for end in range(len(answer)):
        cut = answer[:end]
        assert answer_fit(model, prompt, cut, ends_with=(), share=SHARE).fits
        early = answer_fit(model, prompt, cut, ends_with=(STOP,), share=SHARE)
        assert not early.fits
        assert early.margins[-1] > 0
        assert answer_fit(model, prompt, cut, ends_with=(STOP, answer[end]), share=SHARE).fits


def test_a_near_tie_is_rounding_and_a_larger_margin_is_not(model: Any) -> None:
    prompt = [7, 8, 9, 10]
    logits = logits_at(model, Prompt(prompt, [len(prompt) - 1]))[0]
    second = int(logits.topk(2).indices[1])
    margin = float(logits.max() - logits[second]) / float(logits.abs().max())
    assert answer_fit(model, prompt, [second], ends_with=(), share=margin * 1.01).fits
    assert not answer_fit(model, prompt, [second], ends_with=(), share=margin * 0.99).fits


def test_rounding_depends_on_the_precision(quick_config: Any) -> None:
    shares = [rounding_share(quick_config(f"model.torch_dtype={name}")) for name in ("float32", "float16", "bfloat16")]
    assert shares == [1e-4, 4 * 2**-10, 4 * 2**-7]
    assert rounding_share(quick_config("model.torch_dtype=auto")) == shares[-1]
    quantized = rounding_share(quick_config("model.torch_dtype=float32", "model.quantization=4bit"))
    assert quantized == shares[-1]


@pytest.mark.parametrize(
    ("telling_from", "chosen"), [(0, [0, 1, 2]), (2, [0, 2, 3]), (4, [0, 4, 5]), (7, [0, 7, 8]), (12, [0, 1, 2])]
)
def test_turns_that_base_and_adapter_answer_differently_are_preferred(telling_from: int, chosen: list[int]) -> None:
    asked: list[Any] = []

    class Numbered(AnswerChecker):
        def __init__(self) -> None:
            pass

        def _answer(self, examples: Any) -> list[OwnTurn]:
            asked.extend(examples)
            done: Any = None
            return [OwnTurn(one, done, done, telling_from <= one < telling_from + 2) for one in examples]

    candidates: Any = list(range(13))
    found: list[Any] = [turn.example for turn in Numbered().choose(candidates, 3)]
    assert found == chosen
    assert len(asked) <= 12
