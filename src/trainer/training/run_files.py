"""Which files of a folder a run wrote. Only these are ever removed."""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from trainer.run_layout import RunLayout
from trainer.util.files import replace_json

_CHECKPOINT = re.compile(r"\.?checkpoint-\d+(\.partial)?")
# In a folder without a list, as an unfinished run is. Checkpoints are folders that only a run makes.
_WRITTEN = re.compile(
    r"(config\.resolved\.yaml|(environment|metrics|calibration)\.json|history\.jsonl|report\.(md|html)|README\.md"
    r"|training_args\.bin|adapter_config\.json|adapter_model\.(safetensors|bin)"
    r"|chat_template\.jinja|additional_chat_templates/[^/]+\.jinja"
    r"|(tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|tekken|normalizer)\.json"
    r"|(vocab|merges|bpe\.codes)\.txt|[^/]*\.(model|tiktoken|vocab)"
    r"|predictions/([^/]+\.jsonl|tools\.json)|runs/[^/]+/events\.out\.tfevents[^/]*)"
)


def list_files(folder: Path, names: Iterable[str]) -> None:
    """Write the list of the files that a finished run wrote into its folder."""
    replace_json(RunLayout(folder).file_list, sorted(names))


def listed_files(folder: Path) -> list[str] | None:
    """Return the list that `list_files` wrote, as relative paths; None if there is none or it cannot be read."""
    try:
        names = json.loads(RunLayout(folder).file_list.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    inside = isinstance(names, list) and all(isinstance(name, str) and _is_inside(name) for name in names)
    return names if inside else None


def written_files(folder: Path) -> list[str]:
    """Return the files that a run wrote into a folder: the listed ones, or those with the names that runs use."""
    listed = listed_files(folder)
    if listed is not None:
        return [name for name in listed if (folder / name).is_file()]
    return [name for name in all_files(folder) if _CHECKPOINT.fullmatch(name.split("/")[0]) or _WRITTEN.fullmatch(name)]


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files of a folder, and the folders inside it that they leave empty."""
    parents: set[Path] = set()
    for name in names:
        (folder / name).unlink(missing_ok=True)
        parents |= set(Path(name).parents) - {Path()}
    for parent in sorted(parents, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):  # it holds something else, or is gone
            (folder / parent).rmdir()


def move_files(source: Path, target: Path, names: Iterable[str]) -> list[Path]:
    """Move files to another folder of the same file system, each in one step, and remove the emptied folders.

    A file in the way is kept under another name; these names are returned. Continues after an interruption.
    """
    kept = []
    for name in names:
        if not (source / name).is_file():
            continue  # moved before an interruption
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            kept.append(_free_name(place))
            place.rename(kept[-1])
        (source / name).replace(place)
    remove_files(source, names)
    return kept


def all_files(folder: Path) -> list[str]:
    """Return every file of a folder as a path relative to it."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _is_inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts


def _free_name(path: Path) -> Path:
    numbers = range(1, 10_000)
    return next(free for free in (path.with_name(f"{path.name}.{n}") for n in numbers) if not free.exists())
