"""Name models in files that others will see: by hub id, or by a bare folder name. Asks no hub."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from trainer.hub.nearby import kind_of, local_path
from trainer.run_layout import ADAPTER_CONFIG, TOKENIZER_CONFIG
from trainer.util.files import replace_file

_CACHED = re.compile(r"[/\\]models--(?P<owner>.+?)--(?P<name>[^/\\]+)[/\\]snapshots[/\\]")
_ABSOLUTE = re.compile(r"^(?:[/\\~]|\.\.?[/\\]|[A-Za-z]:[/\\])")
_NAMING_KEYS = ("base_model_name_or_path", "name_or_path", "_name_or_path")


def shared_name(name: str) -> str:
    """Return the name of a model without the place where this machine keeps it.

    A hub id stays the same. A folder becomes its bare name, and one in the hub's cache becomes the id of its model.

    >>> shared_name("Qwen/Qwen3-4B"), shared_name("/home/ann/models/my-model/")
    ('Qwen/Qwen3-4B', 'my-model')
    >>> shared_name("/data/hub/models--Qwen--Qwen3-4B/snapshots/1cfa9a7/")
    'Qwen/Qwen3-4B'
    """
    if cached := _CACHED.search(name):
        return f"{cached['owner']}/{cached['name']}"
    if _ABSOLUTE.match(name) or kind_of(local_path(name)) == "folder":
        path = Path(name.replace("\\", "/")).expanduser()
        return path.name or path.resolve().name
    return name


def share_names(folder: Path) -> None:
    """Replace local paths of models in the configurations of a saved adapter and tokenizer by shared names."""
    for name in (ADAPTER_CONFIG, TOKENIZER_CONFIG):
        path = folder / name
        if path.is_file() and (text := path.read_text(encoding="utf-8")) != (shared := with_shared_names(text)):
            replace_file(path, shared)


def with_shared_names(text: str, keys: Sequence[str] = _NAMING_KEYS) -> str:
    """Return the text of a JSON object with shared names in its keys that name models, and without paths of files.

    Raises `ValueError` for text that is not JSON.
    """
    content = json.loads(text)
    changed = {key: shared_name(content[key]) for key in keys if isinstance(content.get(key), str)}
    files = [key for key, value in content.items() if key.endswith("_file") and _ABSOLUTE.match(str(value))]
    if not files and all(content[key] == value for key, value in changed.items()):
        return text
    kept = {key: value for key, value in {**content, **changed}.items() if key not in files}
    return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"
