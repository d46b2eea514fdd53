"""With a bias, every way of decoding returns what `generate` does with the same bias; margins foresee who calls."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from recurrent_models import recurrent_model
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel

from tests.support.decoding_models import VOCABULARY, falcon_model, gemma_model
from tests.support.judged_turns import N_NEW, STOP, example, make_examples, make_settings
from tests.support.quick import tiny_model
from trainer.generation.logit_bias import biased
from trainer.generation.settings import DecodeSettings
from trainer.generation.speculative import PartialAnswer, generate_answer
from trainer.generation.teacher_forcing import decode_turns
from trainer.types import Call, ToolEvalExample

MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "full": lambda: tiny_model(VOCABULARY),
    "sliding": gemma_model,
    "own names": falcon_model,
    "recurrent": lambda: recurrent_model("qwen3_5_text", vocab_size=VOCABULARY),
    "recurrent, filled": lambda: recurrent_model("jamba", vocab_size=VOCABULARY),
}


def generated(model: Any, prompt: Sequence[int], bias: Mapping[int, float]) -> list[int]:
    """The greedy answer of `generate` with a processor that adds the bias, without the stop token."""

    def add(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        moved = scores.clone()
        for token, value in bias.items():
            moved[:, token] += value
        return moved

    config = GenerationConfig(max_new_tokens=N_NEW, do_sample=False, eos_token_id=STOP, pad_token_id=0)
    ids = torch.tensor([list(prompt)])
    options = {"generation_config": config, "logits_processor": LogitsProcessorList([add])}
    output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
    answer: list[int] = output[0, ids.shape[1] :].tolist()
    return answer[:-1] if answer[-1] == STOP else answer


def telling_bias(model: Any, examples: Sequence[ToolEvalExample]) -> dict[int, float]:
    """A bias that makes two tokens more likely, without which answers would differ."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([list(examples[0].prompt_ids)])).logits[0, -1]
    spread = float(logits.max() - logits.median())
    return {7: 0.6 * spread, 11: 0.5 * spread, int(logits.argmax()): -0.2 * spread}


@pytest.mark.parametrize("max_batch_tokens", [1, 10_000])
@pytest.mark.parametrize("name", MODELS)
def test_biased_answers_are_those_of_generate(name: str, max_batch_tokens: int) -> None:
    model = MODELS[name]()
    examples = make_examples(model, n_sessions=4, n_turns=4, seed=3)
    bias = telling_bias(model, examples)
    settings = make_settings(max_batch_tokens=max_batch_tokens)
    plain = decode_turns(model, examples, settings)
    decoded = decode_turns(model, examples, replace(settings, logit_bias=bias))
    expected = [generated(model, item.prompt_ids, bias) for item in examples]
    assert [list(turn.token_ids) for turn in decoded] == expected
    differ = [first.token_ids != second.token_ids for first, second in zip(plain, decoded, strict=True)]
    assert sum(differ) > len(differ) / 3
    assert [turn.nll for turn in decoded] == [turn.nll for turn in plain]


def test_gold_that_the_bias_chooses_is_accepted_by_the_pass_alone() -> None:
    model = tiny_model(VOCABULARY)
    bias = telling_bias(model, [example("s", 0, [5, 6, 7], [STOP])])
    gold = generated(model, [5, 6, 7], bias)
    settings = make_settings(logit_bias=bias)
    (turn,) = decode_turns(model, [example("s", 0, [5, 6, 7], gold)], settings)
    assert (list(turn.token_ids), turn.accepted) == (gold, True)


def test_answers_that_are_generated_one_at_a_time_have_the_bias_once() -> None:
    model = tiny_model(VOCABULARY)
    bias = telling_bias(model, [example("s", 0, [5, 6, 7], [STOP])])
    settings = make_settings(logit_bias=bias)
    answer = PartialAnswer(settings, name="s/0")
    generate_answer(model, [5, 6, 7], answer, settings)
    assert answer.token_ids == generated(model, [5, 6, 7], bias)


def test_a_bias_is_added_in_float32() -> None:
    """In bfloat16, 30 + 0.05 is 30."""
    logits = torch.tensor([30.0, 30.0], dtype=torch.bfloat16)
    assert int(biased(logits, {1: 0.05}).argmax()) == 1
    assert logits.tolist() == [30.0, 30.0]


def margin_of(model: PreTrainedModel, tokens: Sequence[int], openings: Sequence[int]) -> float:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([list(tokens)])).logits[0, -1]
    return float(logits[list(openings)].max() - max(v for t, v in enumerate(logits.tolist()) if t not in openings))


def test_the_margin_is_taken_where_golds_call_begins_and_else_where_it_is_largest() -> None:
    model, openings = tiny_model(VOCABULARY), (7, 11)
    prompt = [5, 6]
    calls = replace(example("call", 0, prompt, [20, 11, 21, 7, STOP]), gold_calls=(Call("f", {}),))
    prose = example("prose", 0, prompt, [20, 21, 22, STOP])
    mentions = example("mentions", 0, prompt, [20, 7, 22, STOP])
    other = replace(example("other opening", 0, prompt, [20, 21, STOP]), gold_calls=(Call("f", {}),))
    examples = [calls, prose, mentions, other]
    found = [turn.margins for turn in decode_turns(model, examples, make_settings(call_token_ids=openings))]
    at = [[margin_of(model, [*prompt, *item.target_ids[:n]], openings) for n in range(5)] for item in examples[:3]]
    expected = [
        (at[0][1], max(at[0][2], at[0][4])),  # a second call begins between them
        (max(at[1][:4]), -math.inf),
        (max(at[2][0], at[2][2], at[2][3]), -math.inf),
    ]
    assert [pair for pair in found[:3] if pair] == [pytest.approx(pair, abs=1e-4) for pair in expected]
    assert found[3] is None
    assert all(turn.margins is None for turn in decode_turns(model, examples, make_settings()))


def test_the_first_token_is_a_calls_exactly_if_margin_and_bias_are_above_zero() -> None:
    """For answers of one token: the margin is then that of the whole answer."""
    model = tiny_model(VOCABULARY)
    examples = [example(f"s{n}", 0, [5, n, n + 1], [STOP]) for n in range(3, VOCABULARY - 1)]

    def decoded(bias: float) -> Any:
        settings: DecodeSettings = make_settings(
            max_new_tokens=1, call_token_ids=(7, 11), logit_bias={7: bias, 11: bias}
        )
        return decode_turns(model, examples, settings)

    margins = [turn.margins.call for turn in decoded(0.0)]
    for bias in (-100.0, -sorted(margins)[len(margins) // 2], 0.0, 100.0):
        turns = decoded(bias)
        assert [turn.margins.call for turn in turns] == margins
        calls = [bool(turn.token_ids) and turn.token_ids[0] in (7, 11) for turn in turns]
        far = [abs(margin + bias) > 1e-4 for margin in margins]  # rounding decides the others
        assert [c for c, f in zip(calls, far, strict=True) if f] == [
            margin + bias > 0 for margin, f in zip(margins, far, strict=True) if f
        ]
        assert bias or any(far)
    assert all(turn.token_ids and turn.token_ids[0] in (7, 11) for turn in decoded(100.0))
    assert not any(turn.token_ids and turn.token_ids[0] in (7, 11) for turn in decoded(-100.0))
