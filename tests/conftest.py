"""Fixtures that many tests share: the real small tokenizer, tiny random models, and configurations of both."""

import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from tests.support.quick import EMBEDDED, QUICKSTART, ROOT, quick_overrides, tiny_model
from trainer.config import Config, load_config
from trainer.model_source import resolve_model
from trainer.util import secrets


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Replace lone surrogates in captured output, which workers cannot send to the main process."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "replace").decode()) for name, text in report.sections]
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests, so that no worker is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _offline_in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to the repository, since shipped configurations have relative paths, and keep tests off the network."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin each test without known secrets, and forget its own when it ends."""
    monkeypatch.setattr(secrets, "_known", set())
    monkeypatch.setattr(secrets, "_addresses", set())


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    """Return the real tokenizer of the embedded model."""
    from trainer.tokenizer import load_tokenizer

    return load_tokenizer(load_config(QUICKSTART))


@pytest.fixture(scope="session")
def embedded_folder() -> Path:
    """Return the folder of the converted embedded model."""
    return Path(resolve_model(EMBEDDED))


@pytest.fixture(scope="session")
def shared_tiny_model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """Return the folder of a tiny random model, with the real tokenizer, that no test changes."""
    folder = tmp_path_factory.mktemp("shared") / "tiny-model"
    tiny_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_model_folder(tmp_path: Path, shared_tiny_model: Path) -> Path:
    """Return a test's own copy of the tiny random model."""
    return shutil.copytree(shared_tiny_model, tmp_path / "tiny-model")


@pytest.fixture
def quick_config(tiny_model_folder: Path, tmp_path: Path) -> Callable[..., Config]:
    """Return a function that makes quickstart configurations with a tiny random model, few rows and few steps."""

    def make(*overrides: str) -> Config:
        return load_config(QUICKSTART, [*quick_overrides(tiny_model_folder, tmp_path / "run"), *overrides])

    return make
