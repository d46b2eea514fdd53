"""The table of chat templates in the documentation."""

from pathlib import Path

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
    ("name", "verdict", "rows", "parser"),
    [
        ("chatml_tools", "proven", "1", "`hermes`"),
        ("qwen3", "proven; refuses reasoning (thinking is off)", "1 to 4", "`hermes`"),
        ("llama3", "proven; refuses tool schemas, tool calls, reasoning", "1", "–"),
        ("lfm2", "proven; refuses tool calls, reasoning", "1", "–"),
    ],
)
def test_a_line_says_what_was_found(name: str, verdict: str, rows: str, parser: str) -> None:
    found = examine(SOURCES[name], None)
    assert (found.verdict, found.rows, found.parser) == (verdict, rows, parser)


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    assert with_table(f"before {START} old {END} after") == f"before {START}\n{table()}\n{END} after"
