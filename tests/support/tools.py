"""Tool files for tests, and a listener that notices if anything is fetched."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer.types import Tool

CATASTROPHIC = "^(a|a)+$"
"""A pattern that tries 2 to the power of n ways on n letters before it fails."""

ENDLESS = "a" * 60 + "!"
"""A text on which the pattern would run for years."""


def function_tool(name: str, parameters: object) -> Tool:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def object_schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def write_tools(folder: Path, *tools: object) -> Path:
    path = folder / "tools.json"
    path.write_text(json.dumps(tools), encoding="utf-8")
    return path


@contextmanager
def listener() -> Iterator[tuple[str, socket.socket]]:
    """Yield an address on this machine, and the socket on which a connection to it would wait."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/schema.json", server


def was_called(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except TimeoutError:
        return False
    return True
