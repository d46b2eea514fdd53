"""Every shipped YAML file is valid, and the documented example has exactly its documented keys."""

from pathlib import Path

import pytest
import yaml

from trainer.config import load_config
from trainer.tools import read_tools

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


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
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


def test_the_full_example_has_the_documented_keys_in_order() -> None:
    raw = yaml.safe_load(next(path for path in CONFIGS if path.stem == "car_sales").read_text(encoding="utf-8"))
    assert {section: " ".join(keys) for section, keys in raw.items()} == DOCUMENTED_KEYS
