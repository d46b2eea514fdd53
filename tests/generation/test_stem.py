"""What all prompts begin with is computed once, and changes no answer."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tests.support.decoding_models import VOCABULARY, falcon_model, gemma_model, gpt_oss_model
from tests.support.judged_turns import N_NEW, STOP, example, generated, make_examples, make_settings
from tests.support.quick import tiny_model
from trainer.config.schema import LoraConfig
from trainer.generation.stem import Stem, find_stem
from trainer.generation.teacher_forcing import decode_turns
from trainer.kernels import blocked_attention
from trainer.lora_model import adapter_off, add_lora
from trainer.types import ToolEvalExample

BEGINNING = tuple(3 + (7 * index) % (VOCABULARY - 3) for index in range(90))


def begun(examples: Sequence[ToolEvalExample]) -> list[ToolEvalExample]:
    return [example(one.session_id, one.turn, (*BEGINNING, *one.prompt_ids), one.target_ids) for one in examples]


def sessions(model: Any, *, seed: int = 3) -> list[ToolEvalExample]:
    return begun(make_examples(model, n_sessions=4, n_turns=4, seed=seed))


@pytest.mark.parametrize(
    "make_model",
    [lambda: tiny_model(VOCABULARY), gemma_model, gpt_oss_model, falcon_model],
    ids=["full", "sliding", "sinks", "own names"],
)
@pytest.mark.parametrize("max_batch_tokens", [1, 500, 10_000])
def test_answers_after_a_stem_are_those_of_generate(make_model: Any, max_batch_tokens: int) -> None:
    model = make_model()
    examples = sessions(model)
    stem = find_stem(model, examples)
    assert stem is not None
    assert stem.n_tokens >= len(BEGINNING)
    settings = make_settings(max_batch_tokens=max_batch_tokens)
    with_stem, alone = (decode_turns(model, examples, settings, stem=one) for one in (stem, None))
    for item, turn, other in zip(examples, with_stem, alone, strict=True):
        assert list(turn.token_ids) == generated(model, item.prompt_ids)
        assert turn.finish_reason == ("length" if len(turn.token_ids) == N_NEW else "stop")
        assert turn.nll == pytest.approx(other.nll, rel=1e-4, abs=1e-5)


def n_positions(model: Any, examples: Sequence[ToolEvalExample], stem: Stem | None) -> int:
    seen: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, args, options: seen.append(options["input_ids"].numel()), with_kwargs=True
    )
    decode_turns(model, examples, make_settings(), stem=stem)
    hook.remove()
    return sum(seen)


def test_its_tokens_are_not_computed_again_for_a_session() -> None:
    model = tiny_model(VOCABULARY)
    examples = sessions(model)
    stem = find_stem(model, examples)
    assert stem is not None
    assert n_positions(model, examples, None) - n_positions(model, examples, stem) == 4 * stem.n_tokens


def test_a_stem_is_of_the_weights_that_are_active() -> None:
    model = add_lora(tiny_model(VOCABULARY), LoraConfig(r=4))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    examples = sessions(model)
    for off in (False, True):
        with adapter_off(model, off=off):
            stem = find_stem(model, examples)
            for item, turn in zip(examples, decode_turns(model, examples, make_settings(), stem=stem), strict=True):
                assert list(turn.token_ids) == generated(model, item.prompt_ids)


def test_in_bfloat16_a_session_after_a_stem_is_attended_to_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(VOCABULARY)
    examples = [
        example(name, 0, (*BEGINNING, *range(3, 3 + n)), (5, STOP)) for name, n in (("a", 9), ("b", VOCABULARY - 3))
    ] + [example("c", 0, (*BEGINNING, *[4, 5] * 100), (6, STOP))]
    expected = decode_turns(model, examples, make_settings())
    calls = []
    blocked = blocked_attention.blocked_attention

    def spy(*args: Any, **options: Any) -> torch.Tensor:
        calls.append(options.get("visible") is not None)
        return blocked(*args, **options)

    monkeypatch.setattr(blocked_attention, "blocked_attention", spy)
    model = model.bfloat16()
    stem = find_stem(model, examples)
    found = decode_turns(model, examples, make_settings(), stem=stem)
    assert calls.count(True) == 2  # two layers, for the long session
    for turn, other in zip(found, expected, strict=True):
        assert turn.nll == pytest.approx(other.nll, rel=0.05)


@pytest.mark.parametrize("prompts", [[], [(1, 2)], [BEGINNING], [BEGINNING[:30], (*BEGINNING[:30], 1)]])
def test_without_a_long_beginning_or_a_second_session_there_is_none(prompts: list[tuple[int, ...]]) -> None:
    examples = [example(f"s{index}", 0, prompt, (STOP,)) for index, prompt in enumerate(prompts)]
    assert find_stem(tiny_model(VOCABULARY), examples) is None


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_a_model_whose_positions_depend_on_the_length_of_a_pass_has_none(kind: str) -> None:
    model = tiny_model(VOCABULARY)
    examples = sessions(model)
    assert find_stem(model, examples) is not None
    model.config.rope_parameters = {**(model.config.rope_parameters or {}), "rope_type": kind}
    assert find_stem(model, examples) is None


@torch.inference_mode()
def test_its_keys_are_held_once() -> None:
    model = tiny_model(VOCABULARY)
    stem = find_stem(model, sessions(model))
    assert stem is not None
    caches = [stem.new_cache() for _ in range(2)]
    for cache in caches:
        model(input_ids=torch.tensor([[5, 6, 7]]), past_key_values=cache, use_cache=True)
        assert cache.get_seq_length() == stem.n_tokens + 3
        layers: list[Any] = cache.layers
        assert {layer.keys.shape[2] for layer in layers} == {3}
        assert [layer.stem for layer in layers] == stem.cache.layers
