"""The package can be imported on a platform that has neither `fcntl` nor `resource`, such as Windows."""

import subprocess
import sys

import pytest

from tests.support.modules import torch_free_modules

IMPORT_WITHOUT = """
import importlib, importlib.abc, sys

MISSING = {"fcntl", "resource"}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in MISSING:
    sys.modules[name] = None
sys.meta_path.insert(0, Refuse())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


@pytest.mark.parametrize("names", [list(torch_free_modules()), ["trainer.training.memory"]], ids=["light", "memory"])
def test_modules_are_imported_where_fcntl_and_resource_are_missing(names: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_WITHOUT, *names], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
