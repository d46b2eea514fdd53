"""Models with recurrent layers answer like `generate`, from copies of their states and many turns in one batch."""

import logging
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from recurrent_models import RECURRENT_FAMILIES, recurrent_model
from transformers import (
    Mamba2Config,
    Mamba2ForCausalLM,
    MiniMaxConfig,
    MiniMaxForCausalLM,
    PreTrainedModel,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
)

from tests.support.decoding_models import VOCABULARY
from tests.support.judged_turns import N_NEW, STOP, example, generated, make_examples, make_settings
from trainer.config.schema import LoraConfig
from trainer.generation import recurrent_walk, teacher_forcing
from trainer.generation.kv_cache import CachePrefix, RaggedCache, empty_recurrent_cache
from trainer.generation.passes import run_rows, run_tokens
from trainer.generation.recurrent_probe import Abilities, probe
from trainer.generation.recurrent_states import copy_states
from trainer.generation.recurrent_walk import Prefill
from trainer.generation.speculative import Unfinished, continue_answers
from trainer.generation.teacher_forcing import decode_turns, plan_units
from trainer.lora_model import adapter_off, add_lora
from trainer.types import ToolEvalExample


def make_model(family: str) -> PreTrainedModel:
    return recurrent_model(family, vocab_size=VOCABULARY)


def counted(model: Any, run: Callable[[], Any]) -> int:
    """The number of forward passes of the model while `run` runs."""
    calls: list[int] = []
    hook = model.register_forward_hook(lambda *_: calls.append(1))
    run()
    hook.remove()
    return len(calls)


def assert_like_generate(model: Any, examples: Sequence[ToolEvalExample], **changes: Any) -> Counter[str]:
    """Decode the turns, compare them with `generate`, and return how often answers ended in which way."""
    decoded = decode_turns(model, examples, make_settings(**changes))
    for item, turn in zip(examples, decoded, strict=True):
        assert list(turn.token_ids) == generated(model, item.prompt_ids)
        assert turn.finish_reason == ("length" if len(turn.token_ids) == N_NEW else "stop")
    assert {turn.accepted for turn in decoded} == {True, False}
    return Counter(turn.finish_reason for turn in decoded if not turn.accepted)


@pytest.mark.parametrize("max_batch_tokens", [1, 10_000])
@pytest.mark.parametrize("family", RECURRENT_FAMILIES)
def test_greedy_answers_are_those_of_generate(family: str, max_batch_tokens: int) -> None:
    model = make_model(family)
    examples = make_examples(model, n_sessions=6, n_turns=4, seed=20)
    assert len({len(item.prompt_ids) for item in examples}) > 12
    ends = assert_like_generate(model, examples, max_batch_tokens=max_batch_tokens)
    assert min(ends["stop"], ends["length"]) >= 1


@pytest.mark.parametrize("family", RECURRENT_FAMILIES)
def test_a_turn_takes_a_fraction_of_the_passes_of_generate(family: str) -> None:
    model = make_model(family)
    examples = make_examples(model, n_sessions=6, n_turns=4, seed=20)
    ours = counted(model, lambda: decode_turns(model, examples, make_settings()))
    theirs = counted(model, lambda: [generated(model, item.prompt_ids) for item in examples])
    print(f"{family}: {ours / len(examples):.2f} passes per turn, {theirs / len(examples):.2f} with generate")
    # Inkling counts distances from the length of the cache, so rows of different lengths cannot share a batch.
    assert ours < (theirs * 0.75 if family == "inkling_text" else theirs / 4)


@pytest.mark.parametrize("family", RECURRENT_FAMILIES)
def test_units_return_what_one_call_returns(family: str) -> None:
    model = make_model(family)
    examples = make_examples(model, n_sessions=6, n_turns=3, seed=11)
    plan = make_settings(max_batch_tokens=200)
    units = plan_units(examples, plan)
    assert len(units) > 2
    whole = decode_turns(model, examples, plan)
    for unit in reversed(units):
        assert decode_turns(model, [examples[index] for index in unit], plan) == [whole[index] for index in unit]


@pytest.mark.parametrize("family", RECURRENT_FAMILIES)
def test_sampling_depends_only_on_the_seed_and_the_turn(family: str) -> None:
    model = make_model(family)
    examples = make_examples(model, n_sessions=3, n_turns=3, seed=7)

    def sample(items: Sequence[ToolEvalExample], **changes: Any) -> list[tuple[int, ...]]:
        return [turn.token_ids for turn in decode_turns(model, items, make_settings(temperature=1.0, **changes))]

    assert sample(examples) == sample(examples, max_batch_tokens=1)
    assert sample(examples)[-3:] == sample(examples[-3:])
    assert sample(examples) != sample(examples, seed=1)


def test_what_each_family_can_do_is_found_out() -> None:
    with torch.inference_mode():
        found = {family: probe(make_model(family)) for family in RECURRENT_FAMILIES}
    able = Abilities(holds_states=True, continues=True, batches=True)
    assert found == {
        **dict.fromkeys(RECURRENT_FAMILIES, able),
        "jamba": able._replace(continues=False),  # its scan over several tokens starts from an empty state
        "inkling_text": able._replace(batches=False),
    }


def test_a_session_is_walked_only_to_the_last_turn_that_differs() -> None:
    model = make_model("qwen3_5_text")
    first = [5, 6, 7]
    history = [*first, *generated(model, first)]
    agreeing = [
        example("agrees", 0, first, generated(model, first)),
        example("agrees", 1, [*history, 8], generated(model, [*history, 8])),
    ]
    assert counted(model, lambda: decode_turns(model, agreeing, make_settings())) == 1
    wrong = next(token for token in range(3, VOCABULARY) if token != generated(model, first)[0])
    differing = [example("differs", 0, first, [wrong, STOP]), *agreeing[1:]]
    n_tokens: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: n_tokens.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    decode_turns(model, differing, make_settings())
    hook.remove()
    # The two sessions' passes, the probe, the walk over the first prompt, and one pass for each further token.
    assert Counter(n_tokens)[3] == 1
    assert n_tokens[-(N_NEW - 1) :] == [1] * (N_NEW - 1)


def test_a_walk_that_forgets_its_state_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jamba's answers stay right even if the probe wrongly reports that it continues from earlier states."""
    able = Abilities(holds_states=True, continues=True, batches=True)
    monkeypatch.setattr(recurrent_walk, "probe", lambda model: able)
    prefilled: list[int] = []
    original = recurrent_walk.prefill

    def watched(model: Any, tokens: Prefill) -> CachePrefix:
        prefilled.append(tokens.length)
        return original(model, tokens)

    monkeypatch.setattr("trainer.generation.speculative.prefill", watched)
    model = make_model("jamba")
    assert_like_generate(model, make_examples(model, n_sessions=6, n_turns=4, seed=20))
    assert len(prefilled) >= 6


@pytest.mark.parametrize(("family", "is_walked"), [("qwen3_next", True), ("jamba", False)])
def test_every_turn_that_differs_costs_one_pass_before_its_first_new_token(family: str, is_walked: bool) -> None:
    """A walk's next stretch, or a fill from the first token on; then all turns share each step."""
    model = make_model(family)
    history: list[int] = []
    examples = []
    for turn in range(4):
        history += range(3 + turn, 9 + 2 * turn)
        target = [3 if generated(model, history)[:1] != [3] else 4, STOP]
        examples.append(example("s", turn, history, target))
        history += target
    settings = make_settings(max_new_tokens=2)
    n_run: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: n_run.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    with torch.inference_mode():
        probe(model)
    of_probe = list(n_run)
    n_run.clear()
    decoded = decode_turns(model, examples, settings)
    hook.remove()
    assert not any(turn.accepted for turn in decoded)
    assert len(n_run) == len(of_probe) + 1 + len(examples) + 1
    lengths = [len(item.prompt_ids) for item in examples]
    before_answers = max(lengths) if is_walked else sum(lengths)
    assert sum(n_run) == sum(of_probe) + len(history) + before_answers + len(examples)


@torch.inference_mode()
def test_a_walk_takes_departures_in_any_order() -> None:
    model = make_model("granitemoehybrid")
    ids = list(range(3, 30))
    logits = model(input_ids=torch.tensor([ids])).logits[0]
    lengths = [20, 7, 20, 12]
    found = recurrent_walk.Walker(model).prefixes(
        ids, [recurrent_walk.Departure(length, logits[length - 1]) for length in lengths]
    )
    assert [prefix and prefix.length for prefix in found] == lengths
    assert all(isinstance(prefix, CachePrefix) for prefix in found)


@torch.inference_mode()
def test_wide_sliding_windows_are_not_batched_if_the_mask_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be counted from the longest row, and the probe's few tokens are all inside such a window."""
    model = recurrent_model("zaya", vocab_size=VOCABULARY, sliding_window=64)
    assert probe(model).batches
    monkeypatch.setattr(type(model), "_supports_attention_backend", False)
    assert not probe(model).batches


def test_a_model_that_mixes_up_the_rows_of_a_batch_decodes_one_at_a_time() -> None:
    """Falcon H1 with a gated norm drops the dimension of a single new token."""
    model = recurrent_model("falcon_h1", vocab_size=VOCABULARY, mamba_rms_norm=True)
    with torch.inference_mode():
        assert probe(model) == Abilities(holds_states=True, continues=True, batches=False)
    assert_like_generate(model, make_examples(model, n_sessions=3, n_turns=3, seed=3))


def with_own_cache() -> PreTrainedModel:
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    layers = ["linear_attention", "full_attention"]
    config = MiniMaxConfig(
        **sizes, vocab_size=VOCABULARY, num_hidden_layers=2, head_dim=8, layer_types=layers, num_local_experts=2
    )
    return MiniMaxForCausalLM(config)


def with_states_in_modules() -> PreTrainedModel:
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    config = RecurrentGemmaConfig(**sizes, vocab_size=VOCABULARY, num_hidden_layers=3, lru_width=32, pad_token_id=0)
    return RecurrentGemmaForCausalLM(config)


def without_attention() -> PreTrainedModel:
    config = Mamba2Config(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_heads=8, head_dim=8, state_size=8, n_groups=1
    )
    return Mamba2ForCausalLM(config)


@pytest.mark.parametrize("make", [with_own_cache, with_states_in_modules, without_attention])
def test_unknown_states_are_reported_once_and_generated(
    make: Callable[[], PreTrainedModel], caplog: pytest.LogCaptureFixture
) -> None:
    recurrent_walk._report_slow.cache_clear()
    torch.manual_seed(0)
    model = make().eval()
    examples = make_examples(model, n_sessions=3, n_turns=3, seed=3)
    with caplog.at_level(logging.WARNING, logger="trainer"):
        assert_like_generate(model, examples, max_batch_tokens=1)
    found = [record.message for record in caplog.records if record.name.startswith("trainer")]
    (message,) = found
    assert message.startswith(f"{model.config.model_type} keeps states that cannot be copied; its answers are decoded")


def test_answers_come_from_the_adapter_when_it_is_on_and_from_the_base_model_when_it_is_off() -> None:
    model = add_lora(make_model("qwen3_5_text"), LoraConfig(r=4, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    examples = make_examples(model.eval(), n_sessions=2, n_turns=3, seed=13)
    answers = []
    for off in (False, True):
        with adapter_off(model, off=off):
            decoded = decode_turns(model, examples, make_settings())
            answers.append([list(turn.token_ids) for turn in decoded])
            assert answers[-1] == [generated(model, item.prompt_ids) for item in examples]
    assert answers[0] != answers[1]


@torch.inference_mode()
@pytest.mark.parametrize("family", [family for family in RECURRENT_FAMILIES if family != "inkling_text"])
def test_rows_with_states_are_dropped_and_loaded_again(family: str) -> None:
    model = make_model(family)
    tokens = [list(range(3 + n, 20 + 2 * n)) for n in range(4)]

    def prefix(row: int) -> CachePrefix:
        cache = empty_recurrent_cache(model.config)
        run_tokens(model, tokens[row][:-2], cache)
        return CachePrefix(cache, len(tokens[row]) - 2, copy_states(cache))

    def check(rows: Sequence[int], at: int) -> None:
        logits = run_rows(model, [tokens[row][at : at + 1 or None] for row in rows], cache, n_positions=8192)
        cache.advance([1] * len(rows))
        for found, row in zip(logits, rows, strict=True):
            ids = torch.tensor([tokens[row][: at + 1 or None]])
            torch.testing.assert_close(found[0], model(input_ids=ids).logits[0, -1], rtol=1e-4, atol=1e-4)

    cache = RaggedCache(prefix(0).cache, n_rows=3, capacity=40)
    for row in range(3):
        cache.load(row, prefix(row))
    check([0, 1, 2], -2)
    check([0, 1, 2], -1)
    cache.load(1, prefix(3))
    cache.keep([2, 1])
    cache.load(0, prefix(0))
    check([0, 3], -2)
    check([0, 3], -1)


def test_copies_of_states_are_bounded_by_the_token_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("granitemoehybrid")
    examples = [example(f"s{n}", 0, [3 + n, 4, 5], [STOP]) for n in range(30)]
    held: list[int] = []
    n_copies: list[int] = []
    earlier: list[weakref.ref[Any]] = []

    def watched(model: Any, unfinished: Sequence[Unfinished], *args: Any, **options: Any) -> None:
        prefixes = [item.prefix for item in unfinished if isinstance(item.prefix, CachePrefix)]
        assert not any(cache() is not None for cache in earlier)
        earlier.extend(weakref.ref(prefix.cache) for prefix in prefixes)
        n_copies.append(len(prefixes))
        held.append(sum(prefix.n_state_tokens for prefix in prefixes))
        continue_answers(model, unfinished, *args, **options)

    monkeypatch.setattr(teacher_forcing, "continue_answers", watched)
    settings = make_settings(max_batch_tokens=600)
    assert len(plan_units(examples, settings)) == 1
    decoded = decode_turns(model, examples, settings)
    assert [list(turn.token_ids) for turn in decoded] == [generated(model, item.prompt_ids) for item in examples]
    one = held[0] // n_copies[0]
    assert one > 0
    assert sum(n_copies) == sum(not turn.accepted for turn in decoded)
    assert max(held) <= settings.max_batch_tokens // 2 + one < sum(held)


def test_no_cache_outlives_its_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("lfm2")
    examples = make_examples(model, n_sessions=6, n_turns=3, seed=17)
    caches: list[Any] = []
    alive: list[int] = []

    def watched(config: Any) -> Any:
        alive.append(sum(reference() is not None for reference in caches))
        cache = empty_recurrent_cache(config)
        caches.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr(recurrent_walk, "empty_recurrent_cache", watched)
    decode_turns(model, examples, make_settings(max_batch_tokens=1))
    assert len(alive) >= 4
    assert not any(alive)
