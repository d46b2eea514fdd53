"""Decide whether a configured name is a local path or the id of a hub repository. Asks no hub."""

import re
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import DataError, ModelError, ToolSftError
from trainer.hub.nearby import kind_of, local_path, whats_there
from trainer.util.secrets import hide, remember_address

PACKAGE_PREFIX = "package:"

_DATA_SUFFIXES = (
    ".jsonl", ".json", ".ndjson", ".parquet", ".csv", ".tsv", ".arrow", ".txt", ".yaml", ".yml", ".gz", ".zst", ".bz2",
    ".xz", ".zip", ".tar", ".tgz",
)  # fmt: skip
_MODEL_SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".json", ".jinja", ".zip", ".tar", ".gz", ".tgz")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Use:
    """What a name in the configuration is used for: its keys, and what may have this name.

    `repo_type` is the hub's word for the kind of repository, `dataset` or `model`.
    """

    key: str
    revision_key: str
    repo_type: str
    local: str
    suffixes: tuple[str, ...]
    error: type[ToolSftError]


DATASET = Use("data.dataset_name", "data.revision", "dataset", "file or folder", _DATA_SUFFIXES, DataError)
BASE_MODEL = Use("model.base_model_name", "model.revision", "model", "model folder", _MODEL_SUFFIXES, ModelError)


def is_local(name: str, use: Use, *, revision: str | None = None) -> bool:
    """Whether a name is something that exists on this machine; False for the id of a hub repository.

    Raises the error of `use` for a local path that does not exist, for a name that cannot be a hub id, and for a
    local path or package with a revision.
    """
    path = local_path(name)
    kind = kind_of(path) if name else None
    packaged = use.repo_type == "model" and name.startswith(PACKAGE_PREFIX)
    if packaged or kind == "folder" or (use.repo_type == "dataset" and kind == "file"):
        if revision is not None:
            what = "a Python package" if packaged else f"a local {kind}"
            raise use.error(f"{use.revision_key}: got {revision!r}, but {name} is {what}, without revisions; remove it")
        return True
    if kind is not None:
        raise use.error(f"{use.key}: {name} is a file; name a {use.local} or the id of a hub repository")
    if "://" in name:
        remember_address(name)
        raise use.error(
            f"{use.key}: {hide(name)} is an address; give the id of the hub repository alone, such as owner/name"
        )
    surely = _is_path(name)
    if surely or (revision is None and _looks_like_path(name, use)):
        remedy = f"Give an existing {use.local}"
        if not surely:
            remedy += f"; if {name} is the id of a hub repository, set {use.revision_key}, for example to main"
        raise use.error(f"{use.key}: {name} does not exist; {whats_there(path)} {remedy}")
    _check_hub_id(name, use)
    return False


def _is_path(name: str) -> bool:
    """Whether a name can be nothing but a path."""
    return name.startswith((".", "/", "~")) or "\\" in name or _DRIVE.match(name) is not None or name.count("/") > 1


def _looks_like_path(name: str, use: Use) -> bool:
    """Whether a name could be a hub id, but is more likely a path: a data file, or below a name that exists here."""
    first, slash, _ = name.partition("/")
    return name.lower().endswith(use.suffixes) or (bool(slash) and kind_of(Path(first)) is not None)


def _check_hub_id(name: str, use: Use) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise use.error(
            f"{use.key}: {name!r} is not a local {use.local}, and it cannot be the id of a hub repository, which "
            f"has the form owner/name with letters, digits, '-', '_' and '.'; {whats_there(local_path(name))} "
            "Check the spelling"
        ) from None
