"""Show a data summary in a terminal: counts, lengths, calls per tool, and findings by kind."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trainer.checking.summary import DataSummary, SplitSummary, ToolUse
from trainer.data.findings import TITLES, Finding, Kind
from trainer.data.report import rewritten_history
from trainer.util.terminal import Name

_BAR_WIDTH = 30
_MOST_TOOLS = 30
_MOST_OF_A_KIND = 5


def summary_tables(summary: DataSummary, *, max_context_length: int, show_all: bool) -> Iterator[RenderableType]:
    """Yield what to print, in order."""
    yield _counts(summary)
    for split in (summary.train, summary.eval):
        if rewritten := rewritten_history(split.token_factor):
            yield Text(f"{split.name}: {rewritten}", style="yellow")
    yield _lengths(summary.train, max_context_length)
    if summary.tools:
        yield from _tools(summary, show_all=show_all)
    for level, style in (("error", "bold red"), ("dropped", "yellow"), ("warning", "yellow")):
        found = [finding for finding in summary.findings if finding.level == level]
        yield from _findings(level, style, found, show_all=show_all)


def verdict(summary: DataSummary) -> str:
    """Return one line: how many errors, dropped rows and warnings there are."""
    parts = [_plural(summary.n_of("error"), "error"), _plural(summary.n_of("warning"), "warning")]
    dropped = summary.train.n_dropped_sessions + summary.eval.n_dropped_sessions
    if dropped and summary.n_of("dropped"):
        parts.insert(1, f"{_plural(dropped, 'session')} dropped")
    return ", ".join(parts)


def _plural(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}" if n else f"no {word}s"


def count_rows(summary: DataSummary) -> list[tuple[str, list[str]]]:
    """Return what both splits hold: a label and a value for each split. Labels of parts begin with two spaces."""
    splits = (summary.train, summary.eval)
    rows = [
        ("sessions", [f"{split.n_sessions:,}" for split in splits]),
        ("  with errors", [f"{split.n_dropped_sessions:,}" for split in splits]),
        ("rows", [f"{split.n_rows:,}" for split in splits]),
        ("tokens", [f"{split.n_tokens:,}" for split in splits]),
        ("  supervised", [_share(split.n_supervised_tokens, split.n_tokens) for split in splits]),
        ("answers", [f"{split.n_call_turns + split.n_no_call_turns:,}" for split in splits]),
        ("  without a call", [_share(s.n_no_call_turns, s.n_call_turns + s.n_no_call_turns) for s in splits]),
        ("tokens per row", [f"{split.length_percentiles['median']:,}" for split in splits]),
        ("  95%", [f"{split.length_percentiles['p95']:,}" for split in splits]),
        ("  longest", [f"{split.length_percentiles['longest']:,}" for split in splits]),
        ("  over-long", [f"{split.n_over_long:,} ({_share(split.n_over_long, split.n_rows)})" for split in splits]),
    ]
    for what in sorted({*splits[0].converted, *splits[1].converted}):
        rows.append((f"converted: {what}", [f"{split.converted.get(what, 0):,}" for split in splits]))
    return rows


def _counts(summary: DataSummary) -> Table:
    table = Table(title="Sessions", title_justify="left", box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    for split in (summary.train, summary.eval):
        table.add_column(split.name, justify="right", overflow="fold")
    for label, values in count_rows(summary):
        table.add_row(label, *values)
    return table


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _lengths(split: SplitSummary, limit: int) -> Padding:
    table = Table(title=f"Tokens per row of {split.name}", title_justify="left", box=None, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("")
    table.add_column("", justify="right")
    most = max((one.n_rows for one in split.length_bins), default=0)
    for one in split.length_bins:
        bar = "█" * max(round(_BAR_WIDTH * one.n_rows / most), 1 if one.n_rows else 0)
        over = one.start > limit
        table.add_row(f"{one.start:,} to {one.end - 1:,}", Text(bar, style="red" if over else ""), f"{one.n_rows:,}")
    return Padding(table, (1, 0, 0, 0))


def _tools(summary: DataSummary, *, show_all: bool) -> Iterator[RenderableType]:
    table = Table(title="Calls per tool", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for name in (summary.train.name, summary.eval.name):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("offered in sessions", justify="right")
    shown: Sequence[ToolUse] = summary.tools if show_all else summary.tools[:_MOST_TOOLS]
    for tool in shown:
        table.add_row(Name(tool.name), f"{tool.n_train_calls:,}", f"{tool.n_eval_calls:,}", f"{tool.n_sessions:,}")
    yield Padding(table, (1, 0, 0, 0))
    if len(shown) < len(summary.tools):
        yield f"… and {len(summary.tools) - len(shown):,} more tools (--all shows them)"


def _findings(level: str, style: str, found: Sequence[Finding], *, show_all: bool) -> Iterator[RenderableType]:
    by_kind: dict[tuple[str, Kind], list[Finding]] = defaultdict(list)
    for finding in found:
        by_kind[finding.split, finding.kind].append(finding)
    for (split, kind), findings in by_kind.items():
        yield Text(f"\n{level}: {split}: {len(findings):,} {TITLES[kind]}", style=style)
        shown = findings if show_all else findings[:_MOST_OF_A_KIND]
        for finding in shown:
            yield Text(f"  {finding.line()}")
        if len(shown) < len(findings):
            yield Text(f"  … and {len(findings) - len(shown):,} more (--all shows them)", style="dim")
