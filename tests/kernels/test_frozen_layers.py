"""Layers below the adapter are computed once for each batch, and nothing else changes."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from tests.kernels.test_packed_attention import FAMILIES, RECURRENT, ROWS, SIZES
from trainer.collate import PackingCollator, PaddingCollator
from trainer.kernels.frozen_layers import FrozenLayers, find_frozen_layers
from trainer.kernels.packed_attention import attend_by_row
from trainer.loss import SupervisedLoss

UPPER = r".*\.layers\.[23]\..*_proj"
BATCHES = [PaddingCollator(0)(ROWS[:2]), PackingCollator(0)(ROWS[1:]), PaddingCollator(0)(ROWS[3:])]
PLENTY = 10**9


def make(family: str, *, targets: str = UPPER, **changes: Any) -> Any:
    torch.manual_seed(0)
    values = {**SIZES, **FAMILIES.get(family, RECURRENT.get(family, {})), "num_hidden_layers": 4, **changes}
    if "layer_types" in values:
        values["layer_types"] = list(values["layer_types"]) * 2
    config: Any = CONFIG_MAPPING[family]
    model: Any = AutoModelForCausalLM.from_config(config(**values))
    lora = LoraConfig(r=4, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM", lora_dropout=0.1)
    return get_peft_model(model, lora).train()


def step(model: Any, batch: Any, frozen: FrozenLayers | None, **options: Any) -> list[torch.Tensor]:
    """The loss and the gradients of a batch, with the same dropout every time."""
    torch.manual_seed(3)
    model.zero_grad()
    with attend_by_row(model, batch.get("segments", ())):
        if frozen is None:
            loss = SupervisedLoss(model)(model, batch, use_cache=False)
        else:
            with frozen.reused(batch, **options):
                loss = SupervisedLoss(model)(model, batch, use_cache=False)
        loss.backward()
    return [loss.detach(), *(weight.grad.clone() for weight in model.parameters() if weight.grad is not None)]


def count_calls(layer: torch.nn.Module) -> list[int]:
    calls: list[int] = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    return calls


def attention_calls(model: Any, index: int) -> list[int]:
    return count_calls(next(m for n, m in model.named_modules() if n.endswith(f"layers.{index}.self_attn")))


@pytest.mark.parametrize("family", FAMILIES)
def test_later_epochs_have_the_same_loss_and_gradients_to_the_bit(family: str) -> None:
    model = make(family)
    frozen = find_frozen_layers(model, n_bytes=PLENTY)
    assert frozen is not None
    assert frozen.n_frozen == 2
    lower, upper = attention_calls(model, 1), attention_calls(model, 2)
    plain = [step(model, batch, None) for batch in BATCHES]
    assert len(lower) == len(upper) > 0
    first = [step(model, batch, frozen) for batch in BATCHES]
    lower.clear()
    upper.clear()
    second = [step(model, batch, frozen) for batch in reversed(BATCHES)][::-1]
    assert (lower, len(upper) > 0) == ([], True)
    for one, two, three in zip(plain, first, second, strict=True):
        assert len(one) > 1
        assert all(map(torch.equal, one, two))
        assert all(map(torch.equal, one, three))


@pytest.mark.parametrize("options", [{"keep": False}, {}])
def test_nothing_is_kept_without_need_or_without_memory(options: dict[str, Any]) -> None:
    model = make("llama")
    found = find_frozen_layers(model, n_bytes=0 if not options else PLENTY)
    assert found is not None
    lower = attention_calls(model, 0)
    for _ in range(2):
        lower.clear()
        step(model, BATCHES[0], found, **options)
        assert lower


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {"targets": "all-linear"}),
        ("llama", {"targets": r".*\.layers\.0\..*_proj"}),
        ("llama", {"targets": r".*(embed_tokens|layers\.3\.mlp\.up_proj)"}),  # an adapter on the embedding
        ("llama", {"attention_dropout": 0.5}),  # other numbers in every pass
    ],
)
def test_layers_that_change_are_not_left_out(family: str, changes: dict[str, Any]) -> None:
    assert find_frozen_layers(make(family, **changes), n_bytes=PLENTY) is None


def test_the_probe_changes_neither_random_numbers_nor_modes() -> None:
    model = make("llama")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model.base_model.eval()
    modes = [module.training for module in model.modules()]
    assert find_frozen_layers(model, n_bytes=PLENTY) is not None
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("family", RECURRENT)
def test_layers_of_other_kinds_are_left_out_only_if_nothing_changes(family: str) -> None:
    model = make(family, targets=r".*\.layers\.3\..*[qv]_proj")
    frozen = find_frozen_layers(model, n_bytes=PLENTY)
    assert (frozen is not None) is (family != "falcon_h1")  # whose layers give a tuple to the next one
    if frozen is not None:
        one, two, three = (step(model, BATCHES[2], part) for part in (None, frozen, frozen))
        assert all(map(torch.equal, one, two))
        assert all(map(torch.equal, one, three))
