"""Every shipped YAML file is valid and trains a tiny model; the documented example has exactly its documented keys."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors import safe_open
from transformers import AutoTokenizer

from tests.support.chat import stock_template
from tests.support.tiny_families import tiny_gemma3, tiny_llama, tiny_qwen3
from tests.support.tokenizers import packaged_tokenizer_folder
from trainer.config import load_config
from trainer.tools import read_tools
from trainer.training.train import train_run

CONFIGS = sorted((Path(__file__).parent.parent / "configs").rglob("*.yaml"))

DOCUMENTED_KEYS = {
    "data": (
        "load_module dataset_name timezone sysprompt_path tools_path tokenizer max_context_length "
        "drop_oversized n_tool_sessions_eval"
    ),
    "model": "base_model_name torch_dtype pad_token_fallback",
    "lora": "r alpha dropout target_modules bias task_type",
    "train": (
        "output_dir seed report_to per_device_train_batch_size per_device_eval_batch_size "
        "gradient_accumulation_steps gradient_checkpointing num_train_epochs learning_rate weight_decay "
        "lr_scheduler_type warmup_ratio bf16 fp16 ddp_find_unused_parameters logging_steps eval_strategy "
        "save_strategy save_total_limit overwrite_output_dir remove_unused_columns push_to_hub hub_model_id "
        "hub_private_repo"
    ),
    "eval": "max_new_tokens_eval temperature",
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_shipped_configuration_is_valid_and_its_files_exist(path: Path) -> None:
    cfg = load_config(path)
    assert cfg.data.sysprompt_path is not None
    assert cfg.data.sysprompt_path.is_file()
    assert cfg.data.tools_path is not None
    assert read_tools(cfg.data.tools_path)
    template = cfg.model.chat_template_path
    assert template is None or template.is_file()


def test_all_variants_are_shipped() -> None:
    assert {path.stem for path in CONFIGS} >= {
        "car_sales",
        "quickstart",
        "smollm2-360m",
        "qwen3-4b",
        "gemma-3-4b",
    }
    assert {path.parent.name for path in CONFIGS if path.stem == "quickstart"} == {"car_sales", "insurance"}


def test_the_full_example_has_the_documented_keys_in_order() -> None:
    raw = yaml.safe_load(next(path for path in CONFIGS if path.stem == "car_sales").read_text(encoding="utf-8"))
    assert {section: " ".join(keys) for section, keys in raw.items()} == DOCUMENTED_KEYS


def save_tiny(stem: str, folder: Path, embedded: Path) -> None:
    """Save a tiny random model of the architecture that a shipped configuration names, with its tokenizer."""
    if stem == "gemma-3-4b":
        tokenizer: Any = AutoTokenizer.from_pretrained(packaged_tokenizer_folder("gemma3"))
        model = tiny_gemma3(262144)  # as in the real model, one id fewer than the tokenizer has
    elif stem == "qwen3-4b":
        tokenizer = AutoTokenizer.from_pretrained(packaged_tokenizer_folder("qwen3"))
        tokenizer.chat_template = stock_template("qwen3_instruct_2507")
        model = tiny_qwen3(len(tokenizer))
    else:
        tokenizer = AutoTokenizer.from_pretrained(embedded)
        # From eight layers on, the quickstart's recipe leaves some alone.
        model = tiny_llama(len(tokenizer), n_layers=8 if stem == "quickstart" else 2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def overrides_of(stem: str, model: Path, run: Path) -> list[str]:
    """Return what a machine without GPU and network needs, and little work. All other keys are the shipped ones."""
    keys = [
        f"model.base_model_name={model}",
        "model.torch_dtype=float32",
        "data.train_split=train[:3]",
        "data.eval_split=test[:1]",
        "data.n_tool_sessions_eval=1",
        "train.max_steps=2",
        "train.gradient_accumulation_steps=1",
        "train.use_cpu=true",
        "train.bf16=false",
        f"train.output_dir={run}",
        "eval.max_new_tokens_eval=4",
    ]
    if stem == "car_sales":
        keys += ["data.dataset_name=data/car_sales", f"data.tokenizer={model}", "train.report_to=none"]
        keys += ["train.push_to_hub=false"]
    return keys


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_shipped_configuration_trains_a_tiny_model_of_its_architecture(
    path: Path, embedded_folder: Path, tmp_path: Path
) -> None:
    save_tiny(path.stem, tmp_path / "model", embedded_folder)
    run = tmp_path / "run"
    cfg = load_config(path, overrides_of(path.stem, tmp_path / "model", run))
    states = train_run(cfg).states
    assert set(states) == {"base", "final"}
    loss = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["train"]["loss"]
    assert math.isfinite(loss)
    assert loss > 0
    with safe_open(run / "adapter_model.safetensors", framework="pt") as adapter:
        names = list(adapter.keys())
        changed = [name for name in names if "lora_B" in name and adapter.get_tensor(name).any()]
    assert not [name for name in names if "vision" in name or "projector" in name]
    assert len(changed) * 2 == len(names)  # two steps reach every adapter
