"""Make the values of the dataset's page from prepared data: which sessions it lists, and which it shows as tokens."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from trainer.chat import ChatEncoder
from trainer.checking.dataset_cards import FoundSession, PageOptions, find_sessions, session_cards
from trainer.checking.summary import DataSummary, SplitSummary
from trainer.checking.tables import count_rows
from trainer.data.findings import TITLES, Finding
from trainer.data.prepare import Prepared
from trainer.errors import DataError, ToolSftError
from trainer.messages import is_trained
from trainer.reports.charts import Histogram, histogram
from trainer.reports.dataset_page import DatasetView, SessionLine
from trainer.reports.text import shortened
from trainer.reports.views import Cell, Column, Fact, Table
from trainer.util.progress import progress_bar

MOST_LISTED = 5000
"""The most sessions that a page lists."""

_MANY = 1_000  # this many sessions or more take seconds to read
_MOST_FINDINGS = 200
_MOST_OPENING = 90  # characters of a session's first message
_LEVELS = ("error", "dropped", "warning")  # the worst one first


def dataset_view(
    prepared: Prepared,
    summary: DataSummary,
    encoder: ChatEncoder,
    *,
    title: str,
    facts: Sequence[Fact],
    limit: int,
    options: PageOptions,
) -> DatasetView:
    """Return the values of the page. `limit` is `data.max_context_length`.

    Raises `DataError` if a named session is not there.
    """
    sessions = [found for split in (prepared.train, prepared.evaluation) for found in find_sessions(split)]
    problems: dict[tuple[str, str | None], list[Finding]] = defaultdict(list)
    for finding in prepared.findings:
        problems[finding.split, finding.session_id].append(finding)
    listed = sessions[:MOST_LISTED]
    missing = set(options.named) - {found.place.session_id for found in sessions}
    if missing:
        first = ", ".join(found.place.session_id for found in sessions[:5])
        raise DataError(f"no split has the session {', '.join(sorted(missing))}; the first ones: {first}")
    listed += [found for found in sessions[MOST_LISTED:] if found.place.session_id in options.named]
    cards = session_cards(listed, problems, encoder, options)
    lines = []
    with progress_bar("Listing", total=len(listed), unit="sessions", show=len(listed) >= _MANY) as step:
        for found in listed:
            card = cards.get(found.name)
            lines.append(_line(found, problems[found.name], key=None if card is None else card.key))
            step(1)
    return DatasetView(
        title=title,
        facts=tuple(facts),
        counts=_counts(summary),
        lengths=tuple(chart for split in (summary.train, summary.eval) if (chart := _lengths(split, limit))),
        tools=_tools(summary),
        findings=_findings(prepared.findings),
        n_sessions=len(sessions),
        lines=tuple(lines),
        cards=tuple(cards.values()),
        hint="--sessions N shows more as tokens, --session ID a certain one.",
    )


def _line(found: FoundSession, findings: Sequence[Finding], *, key: str | None) -> SessionLine:
    tokens = found.split.parts[found.place.part].tokens
    rows = [tokens[index] for index in found.tokens]
    calls: Counter[str] = Counter()
    opening, n_answers = "", 0
    try:
        session = found.split.read(found.place)
    except ToolSftError:
        session = None
    if session is not None:
        n_answers = sum(map(is_trained, session.messages))
        opening = next((m.get("content") or "" for m in session.messages if m["role"] == "user"), "")
        calls.update(call["function"]["name"] for m in session.messages for call in m.get("tool_calls") or ())
    return SessionLine(
        key=key,
        session_id=found.place.session_id,
        split=found.split.name,
        state=_state(findings),
        n_answers=n_answers,
        n_tokens=sum(row["length"] for row in rows),
        n_supervised=sum(sum(row["ends"]) - sum(row["starts"]) for row in rows),
        opening=shortened(opening, most=_MOST_OPENING).partition(" … [")[0] + "…" * (len(opening) > _MOST_OPENING),
        called=", ".join(name if n == 1 else f"{name} × {n}" for name, n in calls.items()),
    )


def _state(findings: Sequence[Finding]) -> str:
    if any(finding.kind == "over_long" for finding in findings):
        return "over-long"
    levels = {finding.level for finding in findings}
    return next((level for level in _LEVELS if level in levels), "")


def _counts(summary: DataSummary) -> Table:
    splits = (summary.train, summary.eval)
    columns = (Column(""), *(Column(split.name, is_number=True) for split in splits))
    rows, whole = [], ""
    for label, values in count_rows(summary):
        is_part = label.startswith("  ")
        whole = whole if is_part else label
        name = f"{whole}, {label.strip()}" if is_part else label
        rows.append((Cell(name), *(Cell(value) for value in values)))
    return Table("Both splits", columns, tuple(rows))


def _lengths(split: SplitSummary, limit: int) -> Histogram | None:
    bins = split.length_bins
    if not bins:
        return None
    edges = [*(one.start for one in bins), bins[-1].end]
    return histogram(
        f"lengths-{split.name.partition('[')[0]}", f"Tokens per row of {split.name}", [one.n_rows for one in bins],
        edges=edges, x_name="tokens", y_name="rows", limit=limit,
    )  # fmt: skip


def _tools(summary: DataSummary) -> Table | None:
    if not summary.tools:
        return None
    names = (f"calls in {summary.train.name}", f"calls in {summary.eval.name}", "offered in sessions")
    columns = (Column("tool"), *(Column(name, is_number=True) for name in names))
    rows = tuple(
        (Cell(tool.name), *(Cell(f"{n:,}", n) for n in (tool.n_train_calls, tool.n_eval_calls, tool.n_sessions)))
        for tool in summary.tools
    )
    return Table("Calls per tool", columns, rows)


def _findings(findings: Sequence[Finding]) -> Table | None:
    if not findings:
        return None
    columns = (Column("level"), Column("split"), Column("what"), Column("where and what to do"))
    order = {"error": 0, "dropped": 1, "warning": 2}
    shown = sorted(findings, key=lambda finding: order[finding.level])[:_MOST_FINDINGS]
    rows = tuple(
        (Cell(one.level, tone="bad" if one.level == "error" else "warn"), Cell(one.split), Cell(TITLES[one.kind]),
         Cell(one.line()))
        for one in shown
    )  # fmt: skip
    more = len(findings) - len(shown)
    note = f"{more:,} more: tool-sft check --all lists all of them" if more else None
    return Table("Errors, dropped rows and warnings", columns, rows, note)
