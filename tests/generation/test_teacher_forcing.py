"""Decoding with gold as the draft returns what `generate` returns, turn by turn, however much gold agrees."""

import weakref
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
)

from tests.support.decoding_models import VOCABULARY, falcon_model, gemma_model, gpt_oss_model
from tests.support.judged_turns import N_NEW, STOP, example, generated, make_examples, make_settings
from tests.support.quick import tiny_model
from trainer.config.schema import LoraConfig
from trainer.generation import speculative
from trainer.generation.branched.cache import BranchedCache
from trainer.generation.kv_cache import CachePrefix, RaggedCache
from trainer.generation.passes import run_branches
from trainer.generation.shared_prefixes import build_shared_prefixes, chunked
from trainer.generation.speculative import _MAX_DRAFT, PartialAnswer, Unfinished, continue_answers
from trainer.generation.teacher_forcing import decode_turns, plan_units
from trainer.lora_model import adapter_off, add_lora
from trainer.types import ToolEvalExample

N_TRIAL_PASSES = 2  # whether answers can share a history


@pytest.mark.parametrize(
    "make_model",
    [lambda: tiny_model(VOCABULARY), gemma_model, gpt_oss_model, falcon_model],
    ids=["full", "sliding", "sinks", "own names"],
)
@pytest.mark.parametrize("max_batch_tokens", [1, 400, 10_000])
def test_greedy_answers_are_those_of_generate(make_model: Any, max_batch_tokens: int) -> None:
    model = make_model()
    examples = make_examples(model, n_sessions=4, n_turns=4, seed=3)
    decoded = decode_turns(model, examples, make_settings(max_batch_tokens=max_batch_tokens))
    for item, turn in zip(examples, decoded, strict=True):
        assert list(turn.token_ids) == generated(model, item.prompt_ids)
        assert turn.finish_reason == ("length" if len(turn.token_ids) == N_NEW else "stop")
    assert {turn.accepted for turn in decoded} == {True, False}


def n_passes(model: PreTrainedModel, examples: Sequence[ToolEvalExample]) -> int:
    calls: list[int] = []
    hook = model.register_forward_hook(lambda *_: calls.append(1))
    decode_turns(model, examples, make_settings())
    hook.remove()
    return len(calls)


def test_what_follows_a_difference_is_taken_from_gold_where_the_model_agrees() -> None:
    """A wrong token in gold costs few more passes, not one for each token after it."""
    model = tiny_model(VOCABULARY)
    prompt, answer = next(
        (prompt, answer)
        for prompt in ([token, token + 1] for token in range(3, VOCABULARY))
        if len(set(answer := generated(model, prompt))) == N_NEW
    )
    gold = [*answer[:2], next(token for token in range(3, VOCABULARY) if token not in answer), *answer[2:]]
    assert n_passes(model, [example("s", 0, prompt, gold)]) == 1 + N_TRIAL_PASSES + 1


def test_a_long_draft_fits_beside_an_answer_that_is_nearly_full() -> None:
    """Every row of a step is as wide as the longest draft, even if less is left of the row's own answer."""
    model = tiny_model(VOCABULARY)
    known = list(range(3, VOCABULARY))  # a prompt with every token, so there is always a draft
    prompts = [known, known[::-1]]
    examples = [
        example("helped", 0, prompts[0], [STOP, *generated(model, prompts[0])]),
        example("misled", 0, prompts[1], [STOP]),
    ]
    decoded = decode_turns(model, examples, make_settings())
    assert [list(turn.token_ids) for turn in decoded] == [generated(model, prompt) for prompt in prompts]


def test_a_turn_that_agrees_is_finished_by_the_pass_alone() -> None:
    model = tiny_model(VOCABULARY)
    prompt = [5, 6, 7]
    target = generated(model, prompt)
    (turn,) = decode_turns(model, [example("s", 0, prompt, target)], make_settings())
    assert (list(turn.token_ids), turn.finish_reason, turn.accepted) == (target, "length", True)


def nll_of(model: PreTrainedModel, prompt: Sequence[int], target: Sequence[int]) -> list[float]:
    ids = torch.tensor([[*prompt, *target]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(target), reduction="none").tolist()


def test_the_likelihood_is_that_of_gold_for_every_turn() -> None:
    model = tiny_model(VOCABULARY)
    examples = make_examples(model, n_sessions=2, n_turns=3, seed=5)
    for item, turn in zip(examples, decode_turns(model, examples, make_settings()), strict=True):
        assert turn.nll == pytest.approx(nll_of(model, item.prompt_ids, item.target_ids), abs=1e-4)


def test_a_turn_that_does_not_fit_the_context_is_marked_as_skipped() -> None:
    model = tiny_model(VOCABULARY)
    examples = [example("s", 0, [5] * 20, [7, STOP]), example("s", 1, [5] * 30, [7, STOP])]
    decoded = decode_turns(model, examples, make_settings(max_context_tokens=30))
    assert [turn.finish_reason == "skipped_for_length" for turn in decoded] == [False, True]


def test_units_contain_every_turn_once_and_return_what_one_call_returns() -> None:
    model = tiny_model(VOCABULARY)
    examples = make_examples(model, n_sessions=6, n_turns=3, seed=11)
    plan = make_settings(max_batch_tokens=200, max_context_tokens=60)
    units = plan_units(examples, plan)
    assert len(units) > 3
    assert sorted(index for unit in units for index in unit) == list(range(len(examples)))
    whole = decode_turns(model, examples, plan)
    assert any(turn.finish_reason == "skipped_for_length" for turn in whole)
    for unit in reversed(units):
        assert decode_turns(model, [examples[index] for index in unit], plan) == [whole[index] for index in unit]


def test_answers_come_from_the_adapter_when_it_is_on_and_from_the_base_model_when_it_is_off() -> None:
    base = tiny_model(VOCABULARY)
    model = add_lora(base, LoraConfig(r=4))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    model.gradient_checkpointing_enable()
    model.train()
    examples = make_examples(model.eval(), n_sessions=2, n_turns=3, seed=13)
    answers = {}
    for off in (False, True):
        with adapter_off(model, off=off):
            decoded = decode_turns(model, examples, make_settings())
            answers[off] = [list(turn.token_ids) for turn in decoded]
            assert answers[off] == [generated(model, item.prompt_ids) for item in examples]
    assert answers[False] != answers[True]


def test_a_session_longer_than_the_token_budget_is_decoded_alone() -> None:
    model = tiny_model(VOCABULARY)
    examples = make_examples(model, n_sessions=2, n_turns=8, seed=15)
    settings = make_settings(max_batch_tokens=40)
    assert len(examples[-1].prompt_ids) > settings.max_batch_tokens
    decoded = decode_turns(model, examples, settings)
    assert [list(turn.token_ids) for turn in decoded] == [generated(model, item.prompt_ids) for item in examples]


@pytest.mark.parametrize("branches", [False, True])
def test_waiting_answers_take_the_rows_of_finished_ones(branches: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(VOCABULARY)
    prompts = [list(range(3, 3 + n)) for n in (30, 27, 24, 22, 20, 17, 12)]
    n_new = N_NEW + _MAX_DRAFT
    limits = make_settings(max_batch_tokens=2 * 2 * n_new if branches else 2 * (30 + n_new))
    waiting = []
    for prompt in prompts:
        cache = DynamicCache()
        model(input_ids=torch.tensor([prompt]), past_key_values=cache, use_cache=True)
        answer = PartialAnswer(limits, name="")
        answer.extend(generated(model, prompt)[0])
        waiting.append(Unfinished(answer, CachePrefix(cache, len(prompt)), hints=prompt))
    loads: list[int] = []
    kind: Any = BranchedCache if branches else RaggedCache
    load = kind.load

    def watched(cache: Any, row: int, prefix: CachePrefix) -> None:
        loads.append(row)
        load(cache, row, prefix)

    monkeypatch.setattr(kind, "load", watched)
    with torch.inference_mode():
        continue_answers(model, waiting, limits, lambda n_done: None, branches=branches)
    assert [item.answer.token_ids for item in waiting] == [generated(model, prompt) for prompt in prompts]
    assert len(loads) == len(prompts)
    assert min(loads.count(0), loads.count(1)) >= 3


def test_positions_stay_within_the_context() -> None:
    """A model with a table of positions has no entry for the padding beside a long draft."""
    torch.manual_seed(0)
    known = list(range(3, VOCABULARY))
    n_positions = len(known) + N_NEW
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=n_positions)
    model: PreTrainedModel = GPT2LMHeadModel(config)
    examples = [
        example("helped", 0, known, [STOP, *generated(model.eval(), known)[:-1]]),
        example("misled", 0, known[::-1], [STOP]),
    ]
    decoded = decode_turns(model, examples, make_settings(max_context_tokens=n_positions))
    assert [list(turn.token_ids) for turn in decoded] == [generated(model, item.prompt_ids) for item in examples]


def test_no_cache_outlives_its_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(VOCABULARY)
    examples = make_examples(model, n_sessions=6, n_turns=3, seed=17)
    caches: list[Any] = []
    alive: list[int] = []

    def counted(config: Any) -> DynamicCache:
        alive.append(sum(reference() is not None for reference in caches))
        cache = DynamicCache()
        caches.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr("trainer.generation.teacher_forcing.empty_cache", counted)
    decode_turns(model, examples, make_settings(max_batch_tokens=1))
    assert alive == [0] * 6


def test_sampling_depends_only_on_the_seed_and_the_turn() -> None:
    model = tiny_model(VOCABULARY)
    examples = make_examples(model, n_sessions=3, n_turns=2, seed=7)

    def sample(items: Sequence[ToolEvalExample], **changes: Any) -> list[tuple[int, ...]]:
        return [turn.token_ids for turn in decode_turns(model, items, make_settings(temperature=1.0, **changes))]

    assert sample(examples) == sample(examples, max_batch_tokens=1)
    assert sample(examples)[-2:] == sample(examples[-2:])
    assert sample(examples) != sample(examples, seed=1)


def test_sampling_does_not_depend_on_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(VOCABULARY)
    examples = make_examples(model, n_sessions=3, n_turns=3, seed=19)
    settings = make_settings(temperature=0.05)  # low enough that drafts are accepted
    with_drafts = [turn.token_ids for turn in decode_turns(model, examples, settings)]
    monkeypatch.setattr("trainer.generation.speculative._MAX_DRAFT", 0)
    assert [turn.token_ids for turn in decode_turns(model, examples, settings)] == with_drafts


def test_drafts_fill_a_step_on_a_cpu_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(VOCABULARY)
    known = list(range(3, VOCABULARY))  # a prompt with every token, so there is always a draft
    examples = [example(f"s{n}", 0, known[n:] + known[:n], [STOP, *known]) for n in range(5)]
    widths: list[list[int]] = []

    def watched(model: Any, token_ids: Sequence[Sequence[int]], cache: Any, **options: Any) -> list[torch.Tensor]:
        widths.append([len(row) for row in token_ids if row])
        return run_branches(model, token_ids, cache, **options)

    monkeypatch.setattr(speculative, "run_branches", watched)
    monkeypatch.setattr(speculative, "_CPU_FULL_STEP", 15)
    decode_turns(model, examples, make_settings())
    assert max(widths[0]) == 3
    assert all(sum(step) <= 15 for step in widths)
    assert min(max(step) for step in widths) == 1, "wrong drafts are followed by none"


def test_progress_adds_up_to_the_number_of_turns() -> None:
    model = tiny_model(VOCABULARY)
    examples = make_examples(model, n_sessions=2, n_turns=3, seed=9)
    done: list[int] = []
    decode_turns(model, examples, make_settings(max_context_tokens=60), on_done=done.append)
    assert sum(done) == len(examples)


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=6), st.booleans())
@settings(deadline=None)
def test_shared_prefixes_contain_every_turn_in_its_place(pieces: list[list[int]], rewrites_history: bool) -> None:
    history: list[int] = []
    examples = {}
    for turn, piece in enumerate(pieces):
        if rewrites_history and turn == len(pieces) // 2:
            history = [9, *history]
        history = [*history, 8]
        examples[turn] = example("s", turn, history, piece)
        history = [*history, *piece]
    prefixes = build_shared_prefixes(examples)
    spans = [(span, prefix) for prefix in prefixes for span in prefix.turns]
    assert sorted(span.example for span, _ in spans) == list(examples)
    for span, prefix in spans:
        assert prefix.input_ids[: span.start] == examples[span.example].prompt_ids
        assert prefix.input_ids[span.start : span.end] == examples[span.example].target_ids
    assert len(prefixes) <= 1 + rewrites_history


def test_chunks_stay_within_the_token_budget() -> None:
    prefixes = build_shared_prefixes({i: example(f"s{i}", 0, [1] * n, [2]) for i, n in enumerate([4, 4, 30, 2, 2])})
    assert [len(chunk) for chunk in chunked(prefixes, max_tokens=10)] == [2, 1, 2]


@pytest.mark.slow
def test_the_real_model_answers_like_generate(embedded_folder: Any, tokenizer: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(embedded_folder, dtype=torch.float32).eval()
    questions = ["What is the capital of Switzerland?", "Name three colours.", "Say hello.", "Count to five."]
    examples = []
    for index, question in enumerate(questions):
        text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        prompt = tokenizer(text)["input_ids"]
        greedy = generated(model, prompt, n_new=20)
        examples.append(example(f"s{index}", 0, prompt, [*greedy[: 5 * index], STOP]))
    decoded = decode_turns(model, examples, make_settings(max_new_tokens=20))
    for item, turn in zip(examples, decoded, strict=True):
        assert list(turn.token_ids) == generated(model, item.prompt_ids, n_new=20)
