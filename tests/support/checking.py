"""Run `tool-sft check` in process on files that a test writes."""

import contextlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.support.quick import EMBEDDED
from trainer.commands.main import main

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


class Checked(NamedTuple):
    """The exit code, both outputs, and the JSON that `--json PATH` wrote; None if it wrote nothing."""

    code: int
    out: str
    err: str
    report: dict[str, Any] | None

    def kinds(self, level: str) -> set[str]:
        """The kinds of the findings of a level."""
        assert self.report is not None
        return {finding["kind"] for finding in self.report["findings"] if finding["level"] == level}


def session(name: str, *, city: str = "Vis", id_key: str | None = "id", **changes: Any) -> dict[str, Any]:
    """A row of layout openai: a call, its result, and an answer, all with words of their own."""
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
    row: dict[str, Any] = {
        "messages": [
            {"role": "user", "content": f"{name} asks: will {name} get wet in {city}?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": f"sunny for {name}"},
            {"role": "assistant", "content": f"No, {name}, {city} is sunny."},
        ],
        "tools": [WEATHER],
        **changes,
    }
    return row if id_key is None else {id_key: name, **row}


def as_lines(rows: Sequence[Any]) -> bytes:
    """Rows as JSON Lines; a row that is text or bytes is written as it is."""
    lines = [row if isinstance(row, str | bytes) else json.dumps(row, ensure_ascii=False) for row in rows]
    return b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)


def run_check(folder: Path, files: Mapping[str, bytes], *words: str, **data: Any) -> Checked:
    """Write the files, check them, and return what came of it. `data` are keys of that section."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    section = {"load_module": "chat_rows", "dataset_name": str(folder / "rows"), **data}
    config = folder / "check.yaml"
    config.write_text(yaml.safe_dump({"data": section, "model": {"base_model_name": EMBEDDED}}), encoding="utf-8")
    out, err, report = io.StringIO(), io.StringIO(), folder / "check.json"
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["check", "--config", str(config), "--json", str(report), *words])
    found = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else None
    assert "Traceback" not in err.getvalue() + out.getvalue()
    return Checked(code, out.getvalue(), re.sub(r"(Preparing|Reading) [^\n]*\n", "", err.getvalue()), found)
