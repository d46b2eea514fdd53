"""The loss counts only supervised tokens, does not depend on batching, and needs few logits at a time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

import trainer.loss.tiles as tiles
from tests.support.quick import tiny_model
from tests.support.tiny_families import tiny_gemma3
from trainer.collate import PaddingCollator
from trainer.loss import SupervisedLoss, n_supervised
from trainer.types import IGNORE_INDEX

VOCABULARY = 50


def make_rows(lengths: list[int], *, seed: int = 0) -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in lengths:
        ids = torch.randint(1, VOCABULARY, (length,), generator=generator)
        supervised = torch.rand(length, generator=generator) < 0.3
        supervised[0], supervised[-1] = False, True
        labels = torch.where(supervised, ids, IGNORE_INDEX)
        rows.append({"input_ids": ids.tolist(), "labels": labels.tolist()})
    return rows


ROWS = make_rows([9, 14, 5, 23])


def loss_of(model: torch.nn.Module, rows: list[dict[str, list[int]]], **options: Any) -> torch.Tensor:
    return SupervisedLoss(model)(model, PaddingCollator(0)(rows), use_cache=False, **options)


def plain_loss(model: torch.nn.Module, rows: list[dict[str, list[int]]], *, smoothing: float = 0.0) -> torch.Tensor:
    """The loss as one writes it down: all logits, one row at a time."""
    losses = []
    for row in rows:
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1].float()
        targets = torch.tensor(row["labels"])[1:]
        losses.append(functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing))
    return torch.stack(losses).sum()


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return dict(zip(trained, torch.autograd.grad(loss / 7, list(trained.values())), strict=True))


_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
_FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 6},
    "granite": {"logits_scaling": 8.0, "embedding_multiplier": 3.0},
    "cohere": {"logit_scale": 0.25},
    "gemma2": {"final_logit_softcapping": 2.0, "sliding_window": 6},
    "gemma3_text": {"sliding_window": 6},
    "gpt_oss": {"num_local_experts": 4, "sliding_window": 6},
    "olmo2": {},
}


def make_family(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = CONFIG_MAPPING[name](**{**_SIZES, **_FAMILIES[name]})
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():  # initial logits are near zero, which hides a scale
        torch.nn.init.normal_(weight, std=0.2)
    return model


def with_adapter(model: PreTrainedModel, *targets: str) -> torch.nn.Module:
    pattern = rf"^(?!.*vision).*\.?({'|'.join(targets)})$"
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=pattern, init_lora_weights=False))
    return adapted.eval()


def assert_equal_to_plain(model: torch.nn.Module, *, smoothing: float = 0.0) -> None:
    found, expected = loss_of(model, ROWS, label_smoothing=smoothing), plain_loss(model, ROWS, smoothing=smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    got, wanted = gradients(model, found), gradients(model, expected)
    for name, gradient in wanted.items():
        assert (got[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.fixture(params=[3, 1000], ids=["tiles of 3 rows", "one tile"])
def tile_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setitem(tiles._N_AT_ONCE, "cpu", request.param * VOCABULARY)
    return int(request.param)


@pytest.mark.usefixtures("tile_rows")
@pytest.mark.parametrize("family", _FAMILIES)
def test_loss_and_gradients_equal_those_of_full_logits(family: str, caplog: pytest.LogCaptureFixture) -> None:
    assert_equal_to_plain(with_adapter(make_family(family), "q_proj", "v_proj"))
    assert caplog.text == ""  # the head was used


@pytest.mark.usefixtures("tile_rows")
def test_a_model_with_a_vision_tower_has_the_same_loss() -> None:
    assert_equal_to_plain(with_adapter(tiny_gemma3(VOCABULARY), "q_proj"))


@pytest.mark.usefixtures("tile_rows")
def test_a_trained_head_has_the_gradient_of_full_logits() -> None:
    assert_equal_to_plain(with_adapter(make_family("llama"), "q_proj", "lm_head"))


@pytest.mark.usefixtures("tile_rows")
def test_trained_weights_that_embedding_and_head_share_have_the_gradient_of_both() -> None:
    model = make_family("qwen3")
    assert model.config.tie_word_embeddings
    assert_equal_to_plain(model)


def test_a_model_that_uses_a_part_of_its_decoder_has_the_same_loss() -> None:
    """OPT calls the decoder inside its decoder."""
    torch.manual_seed(0)
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    sizes = {**{name: _SIZES[name] for name in names}, "ffn_dim": 64, "word_embed_proj_dim": 32, "dropout": 0.0}
    config: Any = CONFIG_MAPPING["opt"]
    model = AutoModelForCausalLM.from_config(config(**sizes))
    assert_equal_to_plain(with_adapter(model, "q_proj", "v_proj"))


@pytest.mark.usefixtures("tile_rows")
def test_label_smoothing_is_that_of_full_logits() -> None:
    assert_equal_to_plain(with_adapter(make_family("granite"), "q_proj"), smoothing=0.1)


def test_a_head_that_needs_more_than_hidden_states_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    """The model adds to its logits something that depends on the tokens."""
    model = make_family("llama")
    original: Callable[..., Any] = model.forward

    def biased(input_ids: torch.Tensor, logits_to_keep: Any = 0, **options: Any) -> Any:
        output = original(input_ids=input_ids, logits_to_keep=logits_to_keep, **options)
        output.logits = output.logits + input_ids.float().mean() * torch.arange(VOCABULARY)
        return output

    model.forward = biased
    torch.testing.assert_close(loss_of(model, ROWS[:1]), plain_loss(model, ROWS[:1]))
    assert "cannot be applied in tiles" in caplog.text


def test_one_batch_of_eight_equals_eight_batches_of_one() -> None:
    model = tiny_model(VOCABULARY)
    rows = make_rows([5, 9, 7, 20, 11, 6, 13, 8])
    together = loss_of(model, rows)
    torch.testing.assert_close(together, torch.stack([loss_of(model, [row]) for row in rows]).sum())


def test_unlabelled_tokens_have_no_loss() -> None:
    model = tiny_model(VOCABULARY)
    row = make_rows([12])[0]
    appended = {"input_ids": row["input_ids"] + [1, 2, 3], "labels": row["labels"] + [IGNORE_INDEX] * 3}
    torch.testing.assert_close(loss_of(model, [appended]), loss_of(model, [row]))


def test_left_padding_is_masked_and_right_padding_needs_no_mask() -> None:
    model = tiny_model(VOCABULARY)
    rows = make_rows([9, 14])
    right = PaddingCollator(0)(rows)
    left = {key: torch.stack([values[0].roll(5), values[1]]) for key, values in right.items()}
    seen: list[set[str]] = []
    model.register_forward_pre_hook(lambda _, __, options: seen.append(set(options)), with_kwargs=True)
    loss = SupervisedLoss(model)
    torch.testing.assert_close(loss(model, left, use_cache=False), loss(model, right, use_cache=False))
    masked = [options for options in seen if "logits_to_keep" in options]  # not those of the head alone
    assert ["attention_mask" in options for options in masked] == [True, False]


def test_a_model_without_logits_to_keep_gives_the_same_loss() -> None:
    model = tiny_model(VOCABULARY)
    rows = make_rows([9, 14])
    expected = loss_of(model, rows)

    class Plain(torch.nn.Module):
        """Takes no `logits_to_keep`."""

        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
            return model(input_ids=input_ids, use_cache=use_cache)

    torch.testing.assert_close(loss_of(Plain(), rows), expected)


def test_no_tensor_has_the_logits_of_all_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiles._N_AT_ONCE, "cpu", 4 * VOCABULARY)
    model = tiny_model(VOCABULARY)
    rows = make_rows([60, 80])
    n_rows: list[int] = []
    model.lm_head.register_forward_hook(lambda module, args, output: n_rows.append(output.shape[:-1].numel()))
    loss_of(model, rows).backward()
    assert max(n_rows) <= 4
    n_labels = int(n_supervised(PaddingCollator(0)(rows)))
    assert n_labels <= sum(n_rows) <= n_labels + 4  # a few more for the check


@pytest.mark.parametrize("grad", [True, False])
def test_a_batch_without_labels_has_no_loss(grad: bool) -> None:
    row = {"input_ids": [1, 2, 3], "labels": [IGNORE_INDEX] * 3}
    with torch.set_grad_enabled(grad):
        assert loss_of(tiny_model(VOCABULARY), [row]).item() == pytest.approx(0.0)


def test_evaluation_without_gradients_has_the_same_loss() -> None:
    model = tiny_model(VOCABULARY)
    expected = loss_of(model, ROWS).detach()
    with torch.inference_mode():
        torch.testing.assert_close(loss_of(model, ROWS), expected)
