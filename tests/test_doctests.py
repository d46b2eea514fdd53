"""The examples in docstrings are right."""

import doctest
import importlib
from pathlib import Path

import pytest

from tests.support.quick import ROOT

SRC = ROOT / "src"
MODULES = sorted(path for path in SRC.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_examples_of_a_module_hold(path: Path) -> None:
    outcome = doctest.testmod(importlib.import_module(name_of(path)))
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_these_modules_have_examples() -> None:
    assert {name_of(path) for path in MODULES} >= {
        "trainer.util.clock",
        "simulator_kit.dialogue",
        "simulator_kit.replies",
        "simulator_kit.voice",
        "trainer",
        "trainer.scoring.perplexity",
        "trainer.tools.equality",
        "trainer.util.cli",
        "trainer.util.ordering",
    }
