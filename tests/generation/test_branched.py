"""Answers that share a history get the same logits as each one alone, and do not copy the history."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import DynamicCache, PreTrainedModel

from tests.support.decoding_models import VOCABULARY, falcon_model, gemma_model, gpt_oss_model
from tests.support.quick import tiny_model
from trainer.generation.branched.cache import BranchedCache
from trainer.generation.branched.probe import can_branch
from trainer.generation.kv_cache import CachePrefix
from trainer.generation.passes import run_branches
from trainer.generation.stem import Stem

N_HISTORY = 20
MakeModel = Callable[[], PreTrainedModel]


def ungrouped_model() -> PreTrainedModel:
    """A model with as many key-value heads as query heads."""
    return tiny_model(VOCABULARY, num_key_value_heads=4)


MODELS = [lambda: tiny_model(VOCABULARY), ungrouped_model, gemma_model]
NAMES = ["grouped", "ungrouped", "sliding"]


def history_of(model: PreTrainedModel, tokens: torch.Tensor) -> DynamicCache:
    history = DynamicCache()
    model(input_ids=tokens[None], past_key_values=history, use_cache=True)
    return history


def check(
    model: PreTrainedModel,
    cache: BranchedCache,
    known: list[list[int]],
    new: list[list[int]],
    *,
    tolerance: float = 1e-5,
) -> None:
    """The logits of new tokens after each row's known ones are those of the whole row alone."""
    found = run_branches(model, new, cache, n_positions=2048)
    for logits, before, tokens in zip(found, known, new, strict=True):
        assert len(logits) == len(tokens)
        if tokens:
            expected = model(input_ids=torch.tensor([[*before, *tokens]])).logits[0, -len(tokens) :]
            torch.testing.assert_close(logits, expected, rtol=10 * tolerance, atol=tolerance)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the fused kernel, and plain products
@pytest.mark.parametrize("make_model", MODELS, ids=NAMES)
def test_rows_continue_from_their_own_ends_of_shared_histories(make_model: MakeModel, dtype: torch.dtype) -> None:
    model: Any = make_model()
    model.to(dtype)
    texts = torch.randint(3, VOCABULARY, (2, N_HISTORY), generator=torch.Generator().manual_seed(2))
    histories = [history_of(model, text) for text in texts]
    cache = BranchedCache(histories[0], n_rows=4, capacity=12)
    rows = [(0, 5), (1, 17), (0, N_HISTORY), (1, 1)]  # history and length, mixed so that rows must be reordered
    known = [texts[history, :length].tolist() for history, length in rows]
    for row, (history, length) in enumerate(rows):
        cache.load(row, CachePrefix(histories[history], length))
    new = [[5, 6, 7], [8], [], [9, 10]]
    for kept in ([1, 1, 0, 2], [3, 0, 0, 1]):  # the other new tokens are dropped, like a wrong draft
        check(model, cache, known, new)
        cache.advance(kept)
        known = [[*before, *tokens[:n]] for before, tokens, n in zip(known, new, kept, strict=True)]
        new = [[11, 12, 13], [14], [], [15]]
    check(model, cache, known, [[3], [4], [5, 6, 7], [8]])
    cache.keep([3, 0])
    known = [known[3], texts[1, :9].tolist()]
    cache.load(1, CachePrefix(histories[1], 9))
    check(model, cache, known, [[4], [5, 6]])


@torch.inference_mode()
def test_histories_are_not_copied() -> None:
    model = tiny_model(VOCABULARY)
    history = history_of(model, torch.randint(3, VOCABULARY, (N_HISTORY,)))
    cache = BranchedCache(history, n_rows=3, capacity=4)
    for row in range(3):
        cache.load(row, CachePrefix(history, N_HISTORY - row))
    assert {layer.keys.shape[2] for layer in cache.layers} == {4}  # type: ignore[union-attr]
    (part,) = cache.begin([1, 1, 2]).parts
    assert part[:3] == (history, slice(0, 4), N_HISTORY)
    assert part.hidden is not None
    assert part.hidden.sum(dim=1).tolist() == [0, 1, 2, 2]
    (part,) = cache.begin([2, 0, 0]).parts
    assert part.hidden is None


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_may_continue_from_the_end_of_the_stem(dtype: torch.dtype) -> None:
    model: Any = tiny_model(VOCABULARY)
    model.to(dtype)
    tokens = torch.randint(3, VOCABULARY, (N_HISTORY,), generator=torch.Generator().manual_seed(2))
    history = Stem(N_HISTORY, history_of(model, tokens)).new_cache()
    cache = BranchedCache(history, n_rows=1, capacity=4)
    cache.load(0, CachePrefix(history, N_HISTORY))
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.02}[dtype]
    check(model, cache, [tokens.tolist()], [[3, 4]], tolerance=tolerance)


@torch.inference_mode()
def test_bfloat16_differs_by_rounding_only() -> None:
    model: Any = tiny_model(VOCABULARY)
    tokens = torch.randint(3, VOCABULARY, (N_HISTORY,), generator=torch.Generator().manual_seed(2))
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        history = history_of(model.to(dtype), tokens)
        cache = BranchedCache(history, n_rows=2, capacity=4)
        cache.load(0, CachePrefix(history, N_HISTORY))
        cache.load(1, CachePrefix(history, 7))
        found.append(torch.cat(run_branches(model, [[3, 4], [5]], cache, n_positions=2048)).float())
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=0.02)


@torch.inference_mode()
def test_cache_and_histories_are_freed_when_decoding_ends() -> None:
    model = tiny_model(VOCABULARY)
    history = history_of(model, torch.randint(3, VOCABULARY, (N_HISTORY,)))
    cache = BranchedCache(history, n_rows=1, capacity=4)
    cache.load(0, CachePrefix(history, 5))
    run_branches(model, [[3, 4]], cache, n_positions=2048)
    gc.disable()  # nothing may wait for a collection, since histories take much memory
    try:
        held: list[weakref.ref[Any]] = [weakref.ref(cache), weakref.ref(history)]
        del cache, history
        assert [reference() for reference in held] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("make_model", MODELS, ids=NAMES)
def test_models_whose_answers_can_share_a_history_are_recognized(make_model: MakeModel) -> None:
    assert can_branch(make_model())


@pytest.mark.parametrize("make_model", [gpt_oss_model, falcon_model], ids=["sinks", "own names"])
def test_other_models_are_recognized(make_model: MakeModel) -> None:
    assert not can_branch(make_model())


def test_a_model_that_ignores_shared_keys_is_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(VOCABULARY)
    load = BranchedCache.load

    def short(cache: BranchedCache, row: int, prefix: CachePrefix) -> None:
        load(cache, row, prefix._replace(length=prefix.length - 1))

    monkeypatch.setattr(BranchedCache, "load", short)
    assert not can_branch(model)
