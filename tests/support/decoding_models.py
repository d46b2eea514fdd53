"""Tiny random models with unusual attention, in float32."""

import torch
from transformers import (
    FalconConfig,
    FalconForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GptOssConfig,
    GptOssForCausalLM,
    PreTrainedModel,
)

VOCABULARY = 60


def gemma_model() -> PreTrainedModel:
    """A tiny model in which two of three layers see only a window of eight tokens."""
    torch.manual_seed(1)
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        max_position_embeddings=2048,
    )
    model: PreTrainedModel = Gemma3ForCausalLM(config)
    model.eval()
    return model


def gpt_oss_model() -> PreTrainedModel:
    """A tiny mixture of experts that cannot use torch's kernel, because its heads also attend to a sink."""
    torch.manual_seed(1)
    config = GptOssConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=2048,
        pad_token_id=0,
    )
    model: PreTrainedModel = GptOssForCausalLM(config)
    model.eval()
    return model


def falcon_model() -> PreTrainedModel:
    """A tiny model that checks the names of attention implementations and accepts no others."""
    torch.manual_seed(1)
    config = FalconConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, initializer_range=0.3
    )
    model: PreTrainedModel = FalconForCausalLM(config)
    model.eval()
    return model
