"""The table of chat templates in the documentation."""

from pathlib import Path
from typing import Any

import pytest
from template_table import END, START, examine, main, table, templates, with_table

from tests.support.quick import ROOT

DOCS = ROOT / "docs" / "chat-templates.md"
SOURCES = dict(templates())


def test_the_documented_table_is_what_the_command_writes(tmp_path: Path) -> None:
    copy = tmp_path / "copy.md"
    copy.write_text(DOCS.read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["--docs", str(copy)]) == 0
    assert copy.read_text(encoding="utf-8") == DOCS.read_text(encoding="utf-8")


def test_every_template_has_a_line() -> None:
    lines = DOCS.read_text(encoding="utf-8").partition(START)[2].partition(END)[0].splitlines()
    assert [line for name in SOURCES for line in lines if line.startswith(f"| `{name}` |")] != []
    assert all(any(line.startswith(f"| `{name}` |") for line in lines) for name in SOURCES)


@pytest.mark.parametrize(
    ("name", "kwargs", "verdict", "growth", "serve"),
    [
        ("chatml_tools", None, "11 of 11 proven", ("1, 1.0 ×", "1, 1.0 ×"), "content `string`, calls `hermes`"),
        ("qwen3", None, "10 of 11 proven; a turn that does", ("6, 4.8 ×", "20, 12.7 ×"), "content `string`"),
        ("qwen3", {"enable_thinking": True}, "11 of 11 proven", ("3, 2.6 ×", "10, 6.7 ×"), "reasoning `qwen3`"),
        ("llama3", None, "4 of 11 proven; tool schemas (7)", ("1, 1.0 × (no tools)",) * 2, "content `string`"),
        ("gemma4_v5", None, "10 of 11 proven", ("1, 1.0 ×", "1, 1.0 ×"), "content `openai`, calls `gemma4`"),
        ("llama3_2", None, "8 of 11 proven", ("1, 1.0 ×", "1, 1.0 ×"), "`date_string` with each request"),
    ],
)
def test_a_line_says_what_was_found(
    name: str, kwargs: dict[str, Any] | None, verdict: str, growth: tuple[str, ...], serve: str
) -> None:
    found = examine(SOURCES[name], kwargs)
    assert found.verdict.startswith(verdict)
    assert found.growth == growth
    assert serve in found.serve


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    assert with_table(f"before {START} old {END} after") == f"before {START}\n{table()}\n{END} after"
