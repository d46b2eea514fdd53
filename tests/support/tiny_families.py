"""Two-layer random models of several architectures, in float32."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Phi4MultimodalConfig,
    Phi4MultimodalForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 8192,
    "pad_token_id": 0,
}
_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}


def tiny_gemma3(vocab_size: int) -> PreTrainedModel:
    """A Gemma 3 with a vision tower, as the models from 4B up have."""
    text = {**_SIZES, "vocab_size": vocab_size}
    return _made(
        lambda: Gemma3ForConditionalGeneration(
            Gemma3Config(text_config=text, vision_config=_VISION, mm_tokens_per_image=4)
        )
    )


def tiny_qwen3(vocab_size: int) -> PreTrainedModel:
    """A Qwen3, which takes only text."""
    return _made(lambda: Qwen3ForCausalLM(Qwen3Config(**{**_SIZES, "vocab_size": vocab_size})))


def tiny_llama(vocab_size: int, *, n_layers: int = 2) -> PreTrainedModel:
    """A Llama, the architecture of SmolLM2."""
    sizes = {**_SIZES, "vocab_size": vocab_size, "num_hidden_layers": n_layers}
    return _made(lambda: LlamaForCausalLM(LlamaConfig(**sizes)))


def tiny_llava(vocab_size: int) -> PreTrainedModel:
    """A Llava: a Llama with a vision tower and a projector of linear modules."""
    text = {**_SIZES, "vocab_size": vocab_size, "model_type": "llama"}
    vision = {**_VISION, "model_type": "clip_vision_model"}
    return _made(lambda: LlavaForConditionalGeneration(LlavaConfig(text_config=text, vision_config=vision)))


def tiny_phi4(vocab_size: int) -> PreTrainedModel:
    """A Phi-4 multimodal, whose own configuration is that of the text; without weights."""
    vision = {**_VISION, "crop_size": 28}
    audio = {"hidden_size": 32, "intermediate_size": 64, "num_blocks": 2, "num_attention_heads": 4}
    with torch.device("meta"):
        config = Phi4MultimodalConfig(
            **{**_SIZES, "vocab_size": vocab_size},
            vision_config=vision,
            audio_config=audio,
            bos_token_id=1,
            eos_token_id=2,
        )
        return Phi4MultimodalForCausalLM(config)


def _made(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    torch.manual_seed(0)
    model = make()
    model.eval()
    return model
