"""Fresh virtual environments for the tests of installation."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.quick import ROOT

BIN = "Scripts" if sys.platform == "win32" else "bin"


def find_uv() -> str:
    """Return the program uv; skips the test if there is none."""
    found = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".uv" / "bin"))
    if found is None:
        pytest.skip("uv is not installed")
    return found


def borrowing_environment(folder: Path) -> Path:
    """Make a virtual environment that also sees the packages installed here, and return its folder of programs.

    It does not see packages installed here by reference (this project, in a checkout), because Python does not read a
    `.pth` file in a folder that another `.pth` file names.
    """
    venv.create(folder, with_pip=False)
    purelib = sysconfig.get_path("purelib", "venv", {"base": str(folder)})
    Path(purelib, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / BIN


def run_clean(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in another folder, with `variables` set and without the search path of this process."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    if "PIP_FIND_LINKS" in environment:
        environment.setdefault("UV_FIND_LINKS", environment["PIP_FIND_LINKS"])
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env={**environment, **variables}, capture_output=True, text=True, check=False
    )
