"""At 80 columns, the tables that commands print show every name whole, if need be folded over several lines."""

import io
import re

import pytest
from rich.console import Console, RenderableType

from tests.support.scoring import call, tool, turn
from trainer.checking.summary import DataSummary, LengthBin, SplitSummary, ToolUse
from trainer.checking.tables import summary_tables
from trainer.scoring.compare import compare
from trainer.scoring.rates import RATES
from trainer.scoring.score import score
from trainer.scoring.tables import before_after_table, comparison_tables, score_tables
from trainer.util.terminal import FirstThatFits, folding_table

WIDTH = 80
LONG, OTHER = (f"{start}_{'very_long_tool_name_' * 4}"[:64] for start in "ab")
SESSION = f"session-{'0123456789abcdef' * 4}"
TOOLS = [tool(LONG), tool(OTHER)]


def printed(table: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=WIDTH, color_system=None).print(table)
    assert max(map(len, out.getvalue().splitlines())) <= WIDTH
    return out.getvalue()


def columns(text: str) -> list[str]:
    """The text of each column without the spaces at its edges; a table without lines has its first column only."""
    rows = [re.split("[│┃]", line)[1:-1] or line.split()[:1] for line in text.splitlines()]
    n_columns = max(map(len, rows))
    return ["".join(row[index].strip() for row in rows if len(row) > index) for index in range(n_columns)]


def shows(text: str, name: str) -> bool:
    return any(name in column for column in columns(text))


def test_tables_of_scores_show_tools_and_metrics_whole() -> None:
    offered = (LONG, OTHER)
    turns = [turn([call(LONG)], [call(OTHER)], session=f"{SESSION}{n}", offered=offered) for n in range(3)]
    texts = [printed(part) for part in score_tables(score(turns, TOOLS))]
    assert all("…" not in text for text in texts)
    rates, counts, _, tools, confusions = texts
    assert all(shows(rates, rate.name) for rate in RATES)
    assert shows(counts, "n_skipped_for_length")
    assert shows(tools, LONG)
    assert shows(tools, OTHER)
    assert shows(confusions, LONG)
    assert shows(confusions, OTHER)


def test_tables_of_a_comparison_show_metrics_and_sessions_whole() -> None:
    offered = (LONG, OTHER)
    sides = [
        [turn([call(LONG)], [call(name)], session=f"{SESSION}{n}", offered=offered) for n in range(7)]
        for name in (OTHER, LONG)
    ]
    comparison = compare(sides[0], sides[1], TOOLS)
    texts = [printed(part) for part in comparison_tables(comparison) if not isinstance(part, str)]
    assert all("…" not in text for text in texts)
    assert len(comparison.differences) > 5
    assert all(shows(texts[0], name) for name in comparison.differences)
    assert all(shows(texts[-1], f"{SESSION}{n}") for n in range(7))


@pytest.mark.parametrize("intervals", [False, True])
def test_the_table_of_a_run_shows_each_state_whole(intervals: bool) -> None:
    state = {"tool_name_f1": 0.5, "turn_exact": 0.25, "perplexity": 3.0, "intervals": {"turn_exact": (0.1, 0.4)}}
    names = ("base", "step-000040", "a_state_with_a_long_name_of_many_letters", "final")
    text = printed(before_after_table(dict.fromkeys(names, state), intervals=intervals))
    assert "…" not in text
    assert all(shows(text, name) for name in names)


def test_tables_of_data_show_tools_whole() -> None:
    split = SplitSummary(
        "train", 1, 0, 1, 9, 3, 1, 1, 0, {"median": 9, "p95": 9, "longest": 9}, (LengthBin(0, 10, 1),), {}, 1.0
    )
    summary = DataSummary(split, split, (ToolUse(LONG, 1000, 1000, 1000), ToolUse(OTHER, 1, 1, 1)), ())
    text = "".join(printed(part) for part in summary_tables(summary, max_context_length=10, show_all=True))
    assert "…" not in text
    assert shows(text, LONG)
    assert shows(text, OTHER)


def test_the_first_form_that_fits_is_printed() -> None:
    wide, narrow = folding_table("x" * WIDTH, title="t"), folding_table("y", title="t")
    assert "y" in printed(FirstThatFits(wide, narrow))
    assert "y" in printed(FirstThatFits(narrow, wide))
    assert "x" in printed(FirstThatFits(wide))
