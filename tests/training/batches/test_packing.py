"""A run packs its rows if it can, with the same result as padding, and says why if it cannot."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.config import Config
from trainer.errors import ConfigError
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]
# Two rows a batch, and more evaluation sessions than are judged.
SETTINGS = ("train.per_device_train_batch_size=2", "data.eval_split=test[:3]", "data.n_tool_sessions_eval=1")


def metrics_of(cfg: Config) -> Any:
    return json.loads((train_run(cfg).output_dir / "metrics.json").read_text(encoding="utf-8"))


def test_packed_rows_train_what_padded_rows_train(quick_config: MakeConfig, tmp_path: Path) -> None:
    padded, packed = (
        metrics_of(quick_config(*SETTINGS, f"train.packing={value}", f"train.output_dir={tmp_path / value}"))
        for value in ("false", "true")
    )
    assert packed["train"]["loss"] == pytest.approx(padded["train"]["loss"], rel=1e-5)
    assert packed["final"]["perplexity"] == pytest.approx(padded["final"]["perplexity"], rel=1e-5)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("model.attn_implementation=eager", "packing needs model.attn_implementation: sdpa"),
        ("train.torch_compile=true", "a compiled model is compiled again"),
    ],
)
def test_what_cannot_be_packed_is_refused_or_padded(
    setting: str, reason: str, quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    with pytest.raises(ConfigError, match=rf"train\.packing: {reason}.*; set it to auto"):
        train_run(quick_config(*SETTINGS, "train.packing=true", setting))
    if "compile" not in setting:  # compiling takes long
        caplog.set_level("INFO")
        train_run(quick_config(*SETTINGS, "train.max_steps=1", setting))
        assert f"rows are padded, not packed: {reason}" in caplog.text
