"""Read the headers of safetensors files, and find files that are cut off or damaged. Reads no weights."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_LARGEST_HEADER = 100_000_000  # the format's own limit, in bytes
_POINTER = b"version https://git-lfs"


class Header(NamedTuple):
    """The tensors of a file, each with its shape; `problem` says what is wrong with the file, None if nothing is."""

    shapes: Mapping[str, tuple[int, ...]]
    problem: str | None = None


def read_header(path: Path) -> Header:
    """Return the tensors of a safetensors file, or why the file cannot be complete.

    The format: https://github.com/huggingface/safetensors#format. A file is as long as its header promises.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
            if start == _POINTER:
                return Header({}, "is a Git LFS pointer, not the weights; run `git lfs pull` in its folder")
            if len(start) < 8:
                return Header({}, f"has only {size} bytes, so it is cut off")
            (length,) = struct.unpack("<Q", start[:8])
            if length > min(_LARGEST_HEADER, size - 8):
                return Header({}, f"is damaged or cut off: its header needs {length} bytes, the file has {size}")
            file.seek(8)
            text = file.read(length)
    except OSError as error:
        return Header({}, f"cannot be read ({error.strerror})")
    try:
        entries = {name: entry for name, entry in json.loads(text).items() if name != "__metadata__"}
        shapes = {name: tuple(int(n) for n in entry["shape"]) for name, entry in entries.items()}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return Header({}, "is damaged: its header is not what the safetensors format prescribes")
    promised = 8 + length + end
    if promised != size:
        state = "cut off" if size < promised else "damaged"
        return Header(shapes, f"is {state}: its header promises {promised} bytes, the file has {size}")
    return Header(shapes)
