"""Rows to convert, the command on them, and what it left."""

import json
from pathlib import Path
from typing import Any

from trainer.commands.main import main


def write(path: Path, rows: list[Any]) -> Path:
    """Write rows as JSON Lines; text is a line as it is."""
    path.parent.mkdir(exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def convert(*words: object) -> int:
    return main(["convert", *map(str, words)])


def row(*messages: Any, **columns: Any) -> dict[str, Any]:
    """A row in OpenAI form; without messages, a question and its answer."""
    return {"messages": list(messages) or [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ok"}],
            **columns}  # fmt: skip


def called(arguments: Any, name: str = "weather") -> list[dict[str, Any]]:
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    return [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "", "tool_calls": [call]}]


def tree(folder: Path) -> dict[str, bytes | None]:
    """All paths below a folder, with the content of files."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}
