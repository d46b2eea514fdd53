"""What the systems that `train.py` compares train: a model, the start of an adapter, rows; and the work of a step."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "car_sales" / "quickstart.yaml"
RANDOM_MODELS: dict[str, dict[str, Any]] = {
    "tiny": {
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    },
    "smollm2-360m": {
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 960, "intermediate_size": 2560,
        "num_hidden_layers": 32, "num_attention_heads": 15, "num_key_value_heads": 5, "tie_word_embeddings": True,
    },
    "qwen3-4b": {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "tie_word_embeddings": True,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of all steps, how many tokens each has, and how many of these carry loss."""

    path: Path
    n_tokens: tuple[int, ...]
    n_supervised: tuple[int, ...]


def prepare(args: argparse.Namespace, place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the model if it is a random one, and the start of the adapters; return the task and the model's shapes."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    from trainer.config import load_config
    from trainer.model_source import base_model_place

    folder = base_model_place(load_config(CONFIG)).name
    model_folder = folder
    if args.random:
        values = dict(RANDOM_MODELS[args.random])
        torch.manual_seed(0)
        random_config: Any = CONFIG_MAPPING[values.pop("model_type")]
        config = random_config(**values, max_position_embeddings=32768)
        model_folder = str(place / "model")
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.bfloat16)
    config = model.config
    linear = [m.weight.shape for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]
    for dropout in args.dropout:
        torch.manual_seed(0)
        lora = LoraConfig(
            r=args.rank, lora_alpha=args.rank, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        adapted: Any = get_peft_model(model, lora)
        adapted.save_pretrained(place / f"adapter-{dropout}")
        model = adapted.unload()
    shapes = {
        "weights": sum(out * into for out, into in linear),
        "lora": sum(args.rank * (out + into) for out, into in linear),
        "attention": config.num_hidden_layers * config.num_attention_heads * model.model.layers[0].self_attn.head_dim,
        "head": config.vocab_size * config.hidden_size,
    }
    settings = {name: getattr(args, name) for name in ("checkpointing", "liger", "flash", "dtype")}
    return {
        **settings, "model": model_folder, "tokenizer": folder, "steps": args.steps, "scratch": str(place / "scratch")
    }, shapes  # fmt: skip


def write_rows(args: argparse.Namespace, path: Path, *, n_rows: int) -> Rows:
    """Write rows of the sample data, in the order of the file."""
    from trainer.config import load_config
    from trainer.data.domains import domain_datasets, load_domain

    cfg = load_config(CONFIG, ["data.train_split=train", "data.eval_split=test[:1]", "data.n_tool_sessions_eval=1"])
    found = domain_datasets(load_domain(cfg), cfg).train_dataset
    sessions = [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in found]
    rows: list[dict[str, list[int]]] = []
    position = 0
    while len(rows) < n_rows:
        row: dict[str, list[int]] = {"input_ids": [], "labels": []}
        while not row["input_ids"] or len(row["input_ids"]) < (args.row_tokens or 0):
            session = sessions[position % len(sessions)]
            position += 1
            row = {key: row[key] + list(session[key]) for key in row}
        rows.append({key: values[: args.row_tokens] for key, values in row.items()})
    path.write_text(json.dumps(rows), encoding="utf-8")
    return Rows(
        path, tuple(len(row["input_ids"]) for row in rows), tuple(sum(t != -100 for t in row["labels"]) for row in rows)
    )


def flops(rows: Rows, which: range, shapes: dict[str, Any]) -> float:
    """Return the floating-point operations of the matrix products that a step on these rows needs.

    Frozen weights need no gradient, so their products count once forward and once backward, and causal attention counts
    half of its square. Nothing is computed again.
    """
    total = 0.0
    for row in which:
        tokens, supervised = rows.n_tokens[row], rows.n_supervised[row]
        total += 2 * tokens * (2 * shapes["weights"] + 3 * shapes["lora"])
        total += 3 * 2 * 2 * shapes["attention"] * tokens * tokens / 2
        total += 2 * 2 * supervised * shapes["head"]
    return total
