"""A base model's files: what is missing, cut off, damaged or pickled is named before the model is loaded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.support.quick import QUICKSTART, tiny_model
from trainer.config import load_config
from trainer.errors import ModelError
from trainer.lora_model import load_base_model
from trainer.training.checks.model_files import INDEX, WEIGHTS, read_model_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a tiny model in one file."""
    tiny_model(50).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def _cut_off(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-100])


def _extend(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes() + b"xx")


def _short(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"abc")


def _header(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:8] + b"x" + content[9:])


def _pointer(folder: Path) -> None:
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", encoding="utf-8")


def _pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def _no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def _bad_config(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")


def _no_type(folder: Path) -> None:
    (folder / "config.json").write_text('{"hidden_size": 3}', encoding="utf-8")


def _more_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}), encoding="utf-8")


def _lost_shard(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).rename(folder / "model-00001-of-00002.safetensors")
    table = {name: f"model-0000{1 + n % 2}-of-00002.safetensors" for n, name in enumerate(tensors)}
    (folder / INDEX).write_text(json.dumps({"weight_map": table}), encoding="utf-8")


def _empty_index(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text("{}", encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_cut_off, "is cut off: its header promises"),
        (_extend, "is damaged: its header promises"),
        (_short, "has only 3 bytes"),
        (_header, "is damaged: its header is not"),
        (_pointer, "is a Git LFS pointer"),
        (_pickled, "pytorch_model.bin"),
        (_no_weights, "has no weights"),
        (_no_config, "has no config.json"),
        (_adapter, "holds an adapter, not a model"),
        (_bad_config, "is not readable JSON"),
        (_no_type, "names no model_type"),
        (_more_layers, "missing: 2 to 4"),
        (_lost_shard, "lacks 1 of 2 weight files: model-00002-of-00002.safetensors"),
        (_empty_index, "must hold a JSON object"),
    ],
)
def test_damaged_files_are_named(damage: Callable[[Path], None], expected: str, folder: Path) -> None:
    assert read_model_files(folder).problems == ()
    damage(folder)
    [problem] = read_model_files(folder).problems
    assert expected in problem
    assert str(folder) in problem


def test_a_cached_copy_may_lack_files(folder: Path) -> None:
    _lost_shard(folder)
    assert read_model_files(folder, complete=False).problems == ()


@pytest.mark.parametrize(("n_rows", "expected"), [(0, "are missing from its files"), (10, "have another size")])
def test_weights_are_never_filled_at_random(n_rows: int, expected: str, folder: Path) -> None:
    tensors, name = load_file(folder / WEIGHTS), "model.layers.1.mlp.up_proj.weight"
    tensors[name] = tensors[name][:n_rows].clone()
    if not n_rows:
        del tensors[name]
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"1 weights {expected}.*: {name}"):
        load_base_model(load_config(QUICKSTART, [f"model.base_model_name={folder}"]))


def test_a_tied_head_is_not_missing(tmp_path: Path) -> None:
    tiny_model(50, tie_word_embeddings=True).save_pretrained(tmp_path)
    assert read_model_files(tmp_path).problems == ()
    load_base_model(load_config(QUICKSTART, [f"model.base_model_name={tmp_path}"]))
