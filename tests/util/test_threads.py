"""Threads soon sleep while they wait, and are as many as a container may use."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import trainer.util.threads as module
from tests.support.quick import ROOT
from trainer.util.threads import core_limit, n_visible_cores, set_up_threads


@pytest.fixture
def before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported torch, on a machine with eight cores."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(module, "n_visible_cores", lambda: 8)


def limited(folder: Path, text: str) -> Path:
    (folder / "cpu.max").write_text(text, encoding="ascii")
    return folder


@pytest.mark.usefixtures("before_torch")
@pytest.mark.parametrize(
    ("text", "n_threads"),
    [("max 100000", None), ("250000 100000", "2"), ("50000 100000", "1"), ("900000 100000", None)],
)
def test_a_container_has_as_many_threads_as_cores(text: str, n_threads: str | None, tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    set_up_threads(environment, cgroups=limited(tmp_path, text))
    assert environment.get("OMP_NUM_THREADS") == n_threads
    assert (environment["GOMP_SPINCOUNT"], environment["KMP_BLOCKTIME"]) == ("1000", "0")


@pytest.mark.usefixtures("before_torch")
@pytest.mark.parametrize("waiting", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7", "KMP_BLOCKTIME": "5"}])
def test_what_the_user_has_set_stays(waiting: dict[str, str], tmp_path: Path) -> None:
    environment = {"OMP_NUM_THREADS": "3", **waiting}
    set_up_threads(environment, cgroups=limited(tmp_path, "100000 100000"))
    assert environment == {"OMP_NUM_THREADS": "3", **waiting}


def test_nothing_is_set_when_it_is_too_late(tmp_path: Path) -> None:
    import torch  # noqa: F401

    environment: dict[str, str] = {}
    set_up_threads(environment, cgroups=tmp_path)
    assert environment == {}


@pytest.mark.parametrize("text", ["", "max", "0 0", "words", "-1 100000"])
def test_an_unreadable_limit_is_no_limit(text: str, tmp_path: Path) -> None:
    assert core_limit(limited(tmp_path, text)) is None


def test_the_limit_of_an_older_kernel_is_read(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    for name, value in (("cpu.cfs_quota_us", "300000\n"), ("cpu.cfs_period_us", "100000\n")):
        (tmp_path / "cpu" / name).write_text(value, encoding="ascii")
    assert core_limit(tmp_path) == 3
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n", encoding="ascii")
    assert core_limit(tmp_path) is None
    assert core_limit(tmp_path / "nowhere") is None
    assert n_visible_cores() >= 1


def test_every_command_sets_up_its_threads_before_torch() -> None:
    program = (
        "import json, os, sys\nfrom trainer.commands.main import main\n"
        "try:\n    main(['train', '--config', 'nowhere.yaml'])\nexcept SystemExit:\n    pass\n"
        "print(json.dumps([os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules]))"
    )
    environment = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == ["1000", False]
