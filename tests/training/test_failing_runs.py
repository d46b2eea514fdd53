"""A run that fails, early or late, leaves everything else in its folder as it was."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.config import Config
from trainer.errors import DataError, ToolSftError
from trainer.tool_trainer import ToolTrainer
from trainer.training import build_trainer
from trainer.training import train as train_module
from trainer.training.run_folder import RunFolder
from trainer.training.run_place import open_place, take_place
from trainer.training.run_trainer import RunTrainer
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]
OVERWRITE = ("train.overwrite_output_dir=true", "train.save_strategy=steps", "train.save_steps=1")


def fail(*args: Any, **kwargs: Any) -> Any:
    raise DataError("a late failure")


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return the files around the unfinished run."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock" and "unfinished" not in path.relative_to(folder).parts
    }


@pytest.mark.parametrize(
    ("place", "override"),
    [
        (None, "train.lr_scheduler_type=wavy"),
        (None, "train.load_best_model_at_end=true"),  # without evaluations
        (None, "train.metric_for_best_model=tool_f1"),
        (None, "train.optim=paged_adamw_8bit"),
        (None, "lora.target_modules=[q_proj, nowhere]"),
        (None, "data.max_context_length=300"),  # no row is left
        ((train_module, "domain_datasets"), ""),
        ((build_trainer, "load_base_model"), ""),
        ((train_module, "_base_state"), ""),
        ((RunTrainer, "compute_loss"), ""),
        ((RunTrainer, "_save_rng_state"), ""),
        ((ToolTrainer, "_save"), ""),
        ((train_module, "_final_evaluation"), ""),
        ((RunFolder, "write_conversations"), ""),
    ],
)
def test_everything_around_a_failing_run_stays(
    place: tuple[Any, str] | None,
    override: str,
    quick_config: MakeConfig,
    tiny_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    with open_place(out, resume=False) as unfinished:
        for name in ("config.resolved.yaml", "adapter_model.safetensors", "metrics.json"):
            (unfinished / name).write_text("earlier", encoding="utf-8")
        take_place(out)
    shutil.copytree(tiny_model_folder, out / "base")
    (out / "photo.jpg").write_text("photo", encoding="utf-8")
    before = bytes_of(out)
    if place is not None:
        monkeypatch.setattr(*place, fail)
    with pytest.raises(ToolSftError):
        train_run(quick_config(*OVERWRITE, f"model.base_model_name={out / 'base'}", *([override] if override else [])))
    assert bytes_of(out) == before
    monkeypatch.undo()
    if place == (RunFolder, "write_conversations"):
        train_run(quick_config(*OVERWRITE, f"model.base_model_name={out / 'base'}"))
        after = bytes_of(out)
        assert after["adapter_model.safetensors"] != b"earlier"
        assert {name for name in before if before[name] == after.get(name)} >= {
            name for name in before if name.startswith(("base/", "photo"))
        }
