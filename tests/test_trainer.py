"""`import trainer` provides the public names, and imports nothing else."""

import subprocess
import sys
from importlib import metadata

import pytest

import trainer

NAMES = {
    "Config", "EndpointSettings", "ServedOptions", "ToolSftError", "__version__", "check_parity", "evaluate_served",
    "load_config", "merge_run", "plan_serving", "read_predictions", "read_run", "read_tools", "score", "train_run",
}  # fmt: skip


def test_the_top_level_re_exports_these_names() -> None:
    assert set(trainer.__all__) == NAMES
    assert set(trainer.__dir__()) >= NAMES
    for name in NAMES:
        assert getattr(trainer, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = trainer.train


def test_the_import_loads_nothing_else() -> None:
    code = "import sys, trainer; print(sorted(name for name in sys.modules if name.startswith(('trainer.', 'torch'))))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_the_version_is_the_installed_one_or_says_that_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainer.__version__ == metadata.version("llm-tool-call-sft")

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert trainer.__version__ == "0+unknown"
