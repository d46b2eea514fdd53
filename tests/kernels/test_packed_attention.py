"""Packed rows have the loss and gradients of rows alone, and models that would mix them are found."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from tests.loss.test_supervised import make_rows
from trainer.collate import PackingCollator, PaddingCollator
from trainer.kernels import packed_attention, segments
from trainer.kernels.blocked_attention import blocked_attention
from trainer.kernels.fused_lora import fused_lora
from trainer.kernels.lean_layers import find_lean_layers, lean_layers
from trainer.kernels.packed_attention import attend_by_row, keeps_branches_apart, keeps_rows_apart
from trainer.kernels.segments import join_rows
from trainer.loss import SupervisedLoss
from trainer.types import IGNORE_INDEX

SIZES: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {},
    "granite": {"logits_scaling": 8.0},
    "mistral": {"sliding_window": 6},
    "gemma3_text": {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]},
    "olmo2": {},
}
RECURRENT: dict[str, dict[str, Any]] = {
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"], "num_experts": 4, "num_experts_per_tok": 2},
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8},
}
ROWS = make_rows([9, 14, 5, 23])


def make(family: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    config: Any = CONFIG_MAPPING[family]
    model: Any = AutoModelForCausalLM.from_config(config(**{**SIZES, **changes}))
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.2)
    targets = r".*\.([qkvo]|gate|up|down)_proj"
    lora = LoraConfig(r=4, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM")
    return get_peft_model(model, lora)


def loss_and_gradients(model: Any, batches: list[dict[str, Any]]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss = SupervisedLoss(model)
    model.zero_grad()
    total = torch.zeros(())
    for batch in batches:
        with attend_by_row(model, batch.get("segments", ())):
            part = loss(model, batch, use_cache=False)
            part.backward()
        total += part.detach()
    return total, {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_have_the_loss_and_gradients_of_rows_alone(family: str, multiple: int) -> None:
    model = make(family, **FAMILIES[family])
    assert keeps_rows_apart(model)
    alone = loss_and_gradients(model, [PaddingCollator(0)([row]) for row in ROWS])
    with fused_lora(model, active=True), lean_layers(find_lean_layers(model)):
        packed = loss_and_gradients(model, [PackingCollator(0, multiple_of=multiple)(ROWS)])
    torch.testing.assert_close(packed[0], alone[0], rtol=1e-5, atol=0)
    assert packed[1].keys() == alone[1].keys() != set()
    for name, gradient in alone[1].items():
        assert (packed[1][name] - gradient).norm() <= 2e-5 * gradient.norm(), name


def test_without_its_attention_a_batch_of_packed_rows_has_the_same_loss_but_forbidden_pairs_are_computed() -> None:
    """transformers itself masks by positions; this is what the attention by row is faster than."""
    model = make("llama")
    batch = PackingCollator(0)(ROWS)
    expected = loss_and_gradients(model, [batch])[0]
    torch.testing.assert_close(loss_and_gradients(model, [{**batch, "segments": ()}])[0], expected)


@pytest.mark.parametrize("family", RECURRENT)
def test_models_that_carry_a_state_from_row_to_row_are_found(family: str) -> None:
    model = make(family, **RECURRENT[family]).train()
    assert not keeps_rows_apart(model)
    assert model.training


def test_chunks_are_counted_from_the_start_of_the_batch_so_such_models_are_not_packed() -> None:
    torch.manual_seed(0)
    sizes = {**SIZES, "num_local_experts": 2, "intermediate_size_mlp": 64, "attention_chunk_size": 16}
    config: Any = CONFIG_MAPPING["llama4_text"]
    assert not keeps_rows_apart(AutoModelForCausalLM.from_config(config(**sizes)))


def session_rows(n_tokens: int, *departures: tuple[int, int], seed: int = 0) -> list[dict[str, list[int]]]:
    """A row of tokens, and rows that begin like the one before: (tokens in common, own tokens)."""
    rows = make_rows([n_tokens], seed=seed)
    for index, (n_shared, n_own) in enumerate(departures, start=1):
        (own,) = make_rows([n_own], seed=100 * seed + index)
        ids = rows[-1]["input_ids"][:n_shared]
        own["input_ids"][0] = rows[-1]["input_ids"][n_shared] % 49 + 1 if n_shared < len(rows[-1]["input_ids"]) else 1
        own["labels"][0] = own["input_ids"][0]  # the first token that differs has a label, as in an answer
        rows.append({"input_ids": ids + own["input_ids"], "labels": [IGNORE_INDEX] * n_shared + own["labels"]})
    return rows


SESSIONS = [session_rows(31, (22, 7), (25, 3), (9, 12), (4, 2), seed=1), session_rows(17, (12, 9), (1, 6), seed=2)]


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("family", FAMILIES)
def test_joined_rows_have_the_loss_and_gradients_of_rows_alone(family: str, multiple: int) -> None:
    model = make(family, **FAMILIES[family])
    assert keeps_branches_apart(model)
    rows = [*SESSIONS[0], *SESSIONS[1], *ROWS[:1]]
    alone = loss_and_gradients(model, [PaddingCollator(0)([row]) for row in rows])
    batch = PackingCollator(0, multiple_of=multiple)([*map(join_rows, SESSIONS), *ROWS[:1]])
    assert batch["input_ids"].shape[1] < 0.75 * sum(len(row["input_ids"]) for row in rows)
    with fused_lora(model, active=True), lean_layers(find_lean_layers(model)):
        joined = loss_and_gradients(model, [batch])
    torch.testing.assert_close(joined[0], alone[0], rtol=1e-5, atol=0)
    assert joined[1].keys() == alone[1].keys() != set()
    for name, gradient in alone[1].items():
        assert (joined[1][name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize("n_alone", [4, 256])
@pytest.mark.parametrize("family", FAMILIES)
def test_sessions_that_share_a_beginning_have_the_loss_and_gradients_of_rows_alone(
    family: str, n_alone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "FEWEST_SHARED", 5)
    monkeypatch.setattr(packed_attention, "_LONG_BRANCH", n_alone)
    model = make(family, **FAMILIES[family])
    instructions = make_rows([13], seed=7)[0]["input_ids"]
    sessions = [[after(instructions, row) for row in session] for session in [*SESSIONS, ROWS[1:2], ROWS[3:]]]
    rows = [row for session in sessions for row in session]
    alone = loss_and_gradients(model, [PaddingCollator(0)([row]) for row in rows])
    batch = PackingCollator(0, share=True)([*map(join_rows, sessions)])
    joined_only = PackingCollator(0)([*map(join_rows, sessions)])
    assert batch["input_ids"].shape[1] == joined_only["input_ids"].shape[1] - 3 * len(instructions)
    with fused_lora(model, active=True), lean_layers(find_lean_layers(model)):
        shared = loss_and_gradients(model, [batch])
    torch.testing.assert_close(shared[0], alone[0], rtol=1e-5, atol=0)
    assert shared[1].keys() == alone[1].keys() != set()
    for name, gradient in alone[1].items():
        assert (shared[1][name] - gradient).norm() <= 1e-5 * gradient.norm(), name


def after(instructions: list[int], row: dict[str, list[int]]) -> dict[str, list[int]]:
    """The row with a beginning that carries no label, nor does the first token after it."""
    labels = [IGNORE_INDEX] * len(instructions) + [IGNORE_INDEX, *row["labels"][1:]]
    return {"input_ids": instructions + row["input_ids"], "labels": labels}


def test_a_model_that_attends_to_other_branches_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("llama")
    seen = packed_attention._visible
    monkeypatch.setattr(packed_attention, "_visible", lambda *args, **options: torch.ones_like(seen(*args, **options)))
    assert keeps_rows_apart(model)
    assert not keeps_branches_apart(model)


def test_branches_in_bfloat16_are_attended_to_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("llama").bfloat16()
    alone = loss_and_gradients(model, [PaddingCollator(0)([row]) for row in SESSIONS[0]])
    masked = []

    def counted(*args: Any, **options: Any) -> torch.Tensor:
        masked.append(options.get("visible") is not None)
        return blocked_attention(*args, **options)

    monkeypatch.setattr("trainer.kernels.blocked_attention.blocked_attention", counted)
    joined = loss_and_gradients(model, [PackingCollator(0)([join_rows(SESSIONS[0])])])
    assert masked == [False, True] * 2  # two layers: the whole row, and all its branches together
    torch.testing.assert_close(joined[0], alone[0], rtol=1e-2, atol=0)
