"""Tiny random models with recurrent layers, one per family, in float32. Measures nothing."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from transformers import (
    FalconH1Config,
    FalconH1ForCausalLM,
    GraniteMoeHybridConfig,
    GraniteMoeHybridForCausalLM,
    JambaConfig,
    JambaForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    PreTrainedModel,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
    "initializer_range": 0.2,  # so that answers depend on more than the last token
}
_LINEAR: dict[str, Any] = {
    "num_hidden_layers": 3,
    "head_dim": 8,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
_EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2}
_MAMBA2: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_state": 8, "mamba_d_conv": 4, "mamba_chunk_size": 16}


def _qwen3_next(sizes: Mapping[str, Any]) -> PreTrainedModel:
    experts = {**_EXPERTS, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32}
    return Qwen3NextForCausalLM(Qwen3NextConfig(**{**sizes, **_LINEAR, **experts}))


def _qwen3_5(sizes: Mapping[str, Any]) -> PreTrainedModel:
    return Qwen3_5ForCausalLM(Qwen3_5TextConfig(**{**sizes, **_LINEAR}))


def _granite(sizes: Mapping[str, Any]) -> PreTrainedModel:
    own = {
        "num_hidden_layers": 3,
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "shared_intermediate_size": 32,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    }
    return GraniteMoeHybridForCausalLM(GraniteMoeHybridConfig(**{**sizes, **_MAMBA2, **own}))


def _lfm2(sizes: Mapping[str, Any]) -> PreTrainedModel:
    own = {"num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"], "block_multiple_of": 8}
    return Lfm2ForCausalLM(Lfm2Config(**{**sizes, **own}))


def _falcon_h1(sizes: Mapping[str, Any]) -> PreTrainedModel:
    own = {"num_hidden_layers": 2, "head_dim": 8, "mamba_d_ssm": 64, "mamba_d_head": 8}
    return FalconH1ForCausalLM(FalconH1Config(**{**sizes, **_MAMBA2, **own}))


def _jamba(sizes: Mapping[str, Any]) -> PreTrainedModel:
    own = {
        "num_hidden_layers": 4,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "mamba_d_state": 8,
        "mamba_d_conv": 4,
        "mamba_dt_rank": 4,
    }
    return JambaForCausalLM(JambaConfig(**{**sizes, **_EXPERTS, **own}))


_FAMILIES: Mapping[str, Callable[[Mapping[str, Any]], PreTrainedModel]] = MappingProxyType(
    {
        "qwen3_next": _qwen3_next,
        "qwen3_5_text": _qwen3_5,
        "granitemoehybrid": _granite,
        "lfm2": _lfm2,
        "falcon_h1": _falcon_h1,
        "jamba": _jamba,
    }
)
RECURRENT_FAMILIES = tuple(_FAMILIES)


def recurrent_model(family: str, *, vocab_size: int, **changes: Any) -> PreTrainedModel:
    """A model of a family with the architecture of its real models: recurrent layers between attention layers."""
    torch.manual_seed(0)
    model = _FAMILIES[family]({**_SIZES, "vocab_size": vocab_size, **changes})
    model.eval()
    return model
