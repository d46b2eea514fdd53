"""What exists near a path that does not, for messages."""

import difflib
from pathlib import Path
from typing import Literal

_N_NAMES_SHOWN = 8


def local_path(name: str) -> Path:
    """The path that a name in a configuration means; `~` is the user's home folder."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # `~nobody`: there is no such user
        return Path(name)


def kind_of(path: Path) -> Literal["folder", "file"] | None:
    """What a path is; None if there is nothing that can be read."""
    try:
        return "folder" if path.is_dir() else "file" if path.exists() else None
    except (OSError, ValueError):  # for example, a name that is too long for any file
        return None


def whats_there(path: Path) -> str:
    """The end of a sentence on a missing path: similar names, or the content of the nearest folder that exists."""
    known = next(folder for folder in (*path.parents, Path(path.anchor)) if kind_of(folder) is not None)
    if kind_of(known) == "file":
        return f"{known} is a file, not a folder."
    missing = path.relative_to(known).parts[0] if path != known else ""
    folder = f"the current folder ({Path.cwd()})" if known == Path() else str(known)
    try:
        names = sorted(item.name for item in known.iterdir() if not item.name.startswith("."))
    except OSError as error:
        return f"{folder} cannot be read ({error.strerror})."
    near = difflib.get_close_matches(missing, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(str(known / name) for name in near)}?"
    shown = ", ".join(names[:_N_NAMES_SHOWN]) + (", …" if len(names) > _N_NAMES_SHOWN else "")
    return f"{folder} has {shown}." if names else f"{folder} is empty."
