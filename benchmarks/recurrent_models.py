"""Tiny random models with recurrent layers, one per family, in float32. Measures nothing."""

from typing import Any, NamedTuple

import torch
from transformers import (
    BambaConfig,
    BambaForCausalLM,
    FalconH1Config,
    FalconH1ForCausalLM,
    GraniteMoeHybridConfig,
    GraniteMoeHybridForCausalLM,
    InklingForCausalLM,
    InklingTextConfig,
    JambaConfig,
    JambaForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
    ZayaConfig,
    ZayaForCausalLM,
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
_EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2}
_MIXED: dict[str, Any] = {
    "num_hidden_layers": 3,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
}
_DELTA_NET: dict[str, Any] = {
    **_MIXED,
    "head_dim": 8,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
_MAMBA2: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_state": 8, "mamba_d_conv": 4, "mamba_chunk_size": 16}
_WINDOWS: dict[str, Any] = {"num_hidden_layers": 2, "head_dim": 8, "layer_types": ["hybrid_sliding", "hybrid"]}


class _Family(NamedTuple):
    config: type[PreTrainedConfig]
    model: type[PreTrainedModel]
    sizes: dict[str, Any]


_FAMILIES = {
    "qwen3_next": _Family(
        Qwen3NextConfig,
        Qwen3NextForCausalLM,
        {**_DELTA_NET, **_EXPERTS, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32},
    ),
    "qwen3_5_text": _Family(Qwen3_5TextConfig, Qwen3_5ForCausalLM, _DELTA_NET),
    "granitemoehybrid": _Family(
        GraniteMoeHybridConfig,
        GraniteMoeHybridForCausalLM,
        {**_MIXED, **_MAMBA2, "shared_intermediate_size": 32, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "lfm2": _Family(
        Lfm2Config,
        Lfm2ForCausalLM,
        {"num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"], "block_multiple_of": 8},
    ),
    "falcon_h1": _Family(
        FalconH1Config,
        FalconH1ForCausalLM,
        {**_MAMBA2, "num_hidden_layers": 2, "head_dim": 8, "mamba_d_ssm": 64, "mamba_d_head": 8},
    ),
    "jamba": _Family(
        JambaConfig,
        JambaForCausalLM,
        {
            **_EXPERTS,
            "num_hidden_layers": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "mamba_d_state": 8,
            "mamba_d_conv": 4,
            "mamba_dt_rank": 4,
        },
    ),
    "bamba": _Family(BambaConfig, BambaForCausalLM, {**_MAMBA2, "num_hidden_layers": 3, "attn_layer_indices": [1]}),
    "zaya": _Family(
        ZayaConfig,
        ZayaForCausalLM,
        {**_WINDOWS, "moe_intermediate_size": 32, "num_experts": 4, "router_hidden_size": 16, "sliding_window": 8},
    ),
    "inkling_text": _Family(
        InklingTextConfig,
        InklingForCausalLM,
        {
            **_WINDOWS,
            "swa_num_attention_heads": 4,
            "swa_num_key_value_heads": 2,
            "swa_head_dim": 8,
            "d_rel": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "sliding_window_size": 8,
        },
    ),
}
RECURRENT_FAMILIES = tuple(_FAMILIES)


def recurrent_model(family: str, *, vocab_size: int, **changes: Any) -> PreTrainedModel:
    """A model of a family with the architecture of its real models: recurrent layers between or in attention layers."""
    torch.manual_seed(0)
    found = _FAMILIES[family]
    model = found.model(found.config(**{**_SIZES, **found.sizes, "vocab_size": vocab_size, **changes}))
    model.eval()
    return model
