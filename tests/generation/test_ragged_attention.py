"""Rows of different lengths get the same logits as each row alone."""

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask, sdpa_mask

from tests.support.decoding_models import VOCABULARY, falcon_model, gemma_model, gpt_oss_model
from tests.support.quick import tiny_model
from trainer.generation.kv_cache import CachePrefix, RaggedCache
from trainer.generation.ragged_attention import ragged_attention, supports_ragged_attention

LENGTHS, N_NEW = (5, 17, 11), 4


def eager_model() -> PreTrainedModel:
    model = tiny_model(VOCABULARY, attn_implementation="eager")
    assert model.config._attn_implementation == "eager"
    return model


def ungrouped_model() -> PreTrainedModel:
    """A model with as many key-value heads as query heads."""
    return tiny_model(VOCABULARY, num_key_value_heads=4)


MODELS = [lambda: tiny_model(VOCABULARY), ungrouped_model, eager_model, gemma_model, gpt_oss_model]
NAMES = ["kernel", "ungrouped", "eager", "sliding", "sinks"]
MakeModel = Callable[[], PreTrainedModel]


def sequences() -> list[torch.Tensor]:
    torch.manual_seed(2)
    return [torch.randint(3, VOCABULARY, (length + 2 * N_NEW,)) for length in LENGTHS]


def loaded(model: PreTrainedModel, rows: list[torch.Tensor]) -> RaggedCache:
    """A cache that holds the beginnings of the rows, taken from longer passes."""
    cache = None
    for index, (tokens, length) in enumerate(zip(rows, LENGTHS, strict=True)):
        whole = DynamicCache()
        model(input_ids=tokens[None], past_key_values=whole, use_cache=True)
        cache = cache or RaggedCache(whole, n_rows=len(rows), capacity=max(LENGTHS) + 2 * N_NEW)
        cache.load(index, CachePrefix(whole, length))
    assert cache is not None
    return cache


def run(model: PreTrainedModel, cache: RaggedCache, ids: torch.Tensor) -> torch.Tensor:
    positions = cache.lengths.next_positions(ids.shape[1])
    logits = model(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True).logits
    assert isinstance(logits, torch.Tensor)
    return logits


@torch.inference_mode()
@pytest.mark.parametrize("make_model", MODELS, ids=NAMES)
def test_each_row_continues_from_its_own_end(make_model: MakeModel) -> None:
    model, rows = make_model(), sequences()
    alone = [model(input_ids=tokens[None]).logits[0] for tokens in rows]
    cache = loaded(model, rows)
    known = list(LENGTHS)
    with ragged_attention(model, cache):
        for kept in ([1, 4, 2], [4, 3, 4]):  # the other new tokens are dropped, like a wrong draft
            parts = [slice(n, n + N_NEW) for n in known]
            logits = run(model, cache, torch.stack([row[part] for row, part in zip(rows, parts, strict=True)]))
            expected = torch.stack([row[part] for row, part in zip(alone, parts, strict=True)])
            torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
            cache.advance(kept)
            known = [n + more for n, more in zip(known, kept, strict=True)]


@torch.inference_mode()
@pytest.mark.parametrize("make_model", MODELS, ids=NAMES)
def test_rows_are_dropped_and_loaded_again(make_model: MakeModel) -> None:
    model, rows = make_model(), sequences()
    cache = loaded(model, rows)
    other = sequences()[1].flip(0)
    whole = DynamicCache()
    model(input_ids=other[None], past_key_values=whole, use_cache=True)
    cache.keep([2, 0])
    cache.load(1, CachePrefix(whole, 3))
    with ragged_attention(model, cache):
        logits = run(model, cache, torch.stack([rows[2][11:13], other[3:5]]))
    for found, tokens in zip(logits, (rows[2][:13], other[:5]), strict=True):
        torch.testing.assert_close(found, model(input_ids=tokens[None]).logits[0, -2:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make_model", MODELS, ids=NAMES)
def test_the_attention_of_the_model_is_restored(make_model: MakeModel) -> None:
    model = make_model()
    before = model.config._attn_implementation
    with pytest.raises(KeyError), ragged_attention(model, loaded(model, sequences())):
        raise KeyError
    assert model.config._attn_implementation == before
    assert ALL_MASK_ATTENTION_FUNCTIONS["eager"] is eager_mask
    assert ALL_MASK_ATTENTION_FUNCTIONS["sdpa"] is sdpa_mask


@pytest.mark.parametrize(
    ("chosen", "softcap", "expected"),
    [
        ("flash_attention_2", None, "sdpa_ragged"),
        ("flash_attention_2", 50.0, "eager"),  # torch's kernel has no softcap
        ("sdpa", 50.0, "sdpa_ragged"),  # then the run uses no softcap anywhere
    ],
)
def test_other_kernels_are_replaced_by_one_that_accepts_the_mask(
    chosen: str, softcap: float | None, expected: str
) -> None:
    model = tiny_model(VOCABULARY)
    cache = loaded(model, sequences())
    model.config._attn_implementation = chosen
    model.config.attn_logit_softcapping = softcap
    with ragged_attention(model, cache):
        assert model.config._attn_implementation == expected
    assert model.config._attn_implementation == chosen


def test_models_without_support_for_ragged_rows_are_recognized() -> None:
    assert supports_ragged_attention(tiny_model(VOCABULARY))
    assert supports_ragged_attention(gpt_oss_model())
    assert not supports_ragged_attention(falcon_model())


@torch.inference_mode()
def test_the_cache_is_freed_when_decoding_ends() -> None:
    model = tiny_model(VOCABULARY)
    cache = loaded(model, sequences())
    held = weakref.ref(cache)
    with ragged_attention(model, cache):
        run(model, cache, torch.zeros(len(LENGTHS), 2, dtype=torch.int64))
    del cache
    gc.collect()
    assert held() is None
