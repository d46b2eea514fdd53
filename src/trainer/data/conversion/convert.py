"""Convert rows one by one, and count what was read, written, converted, left out and refused. Prints nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from trainer.data.conversion.plan import Plan
from trainer.data.conversion.sources import Source
from trainer.data.layout_reader import content_id
from trainer.data.row_files import PLACE, row_value
from trainer.errors import DataError, OutputError
from trainer.layouts import Layout
from trainer.layouts.project_rows import project_row
from trainer.messages import with_tools
from trainer.util.files import json_line, whole_file
from trainer.util.progress import progress_bar

N_SHOWN = 10
"""How many refused rows and repeated ids an outcome names; a report names every refused row."""

_ROWS_PER_STEP = 100  # of the progress bar


class Refused(NamedTuple):
    """A row that was not converted: its file and line, and why."""

    place: str
    reason: str


@dataclass
class Outcome:
    """The counts of a conversion. `files` are the written ones with their numbers of rows.

    `converted` counts what was not in this project's form, `left_out` the columns that no part of a conversation is
    read from. `refused` and `repeated` hold the first few rows that were not converted, and ids that occur again.
    """

    n_read: int = 0
    n_refused: int = 0
    n_repeated: int = 0
    files: dict[str, int] = field(default_factory=dict)
    converted: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    @property
    def n_written(self) -> int:
        """The rows that were converted."""
        return self.n_read - self.n_refused

    def to_json(self, plan: Plan) -> dict[str, Any]:
        """Return the summary for machines."""
        return {
            "layout": {"name": plan.layout.name, **plan.layout.columns},
            "explanation": list(plan.explanation),
            "rows_read": self.n_read,
            "rows_written": self.n_written,
            "rows_not_converted": self.n_refused,
            "rows_with_repeated_session_id": self.n_repeated,
            "files": self.files,
            "converted": dict(self.converted.most_common()),
            "columns_left_out": dict(self.left_out.most_common()),
            "not_converted": [refused._asdict() for refused in self.refused],
        }


def convert(plan: Plan) -> Outcome:
    """Convert all rows. If none can be converted, nothing is written but the report.

    Raises `OutputError` if the target cannot be written; it is then as it was.
    """
    outcome = Outcome()
    try:
        with _report_file(plan.report) as report:
            try:
                with plan.target.open() as open_file:
                    for source in plan.sources:
                        with open_file(source.name) as file:
                            _convert_split(source, plan, outcome, file=file, report=report)
                    if not outcome.n_written:
                        raise _NothingConverted
            except _NothingConverted:
                pass
    except OSError as error:
        raise OutputError(f"{plan.target.path}: cannot be written: {error.strerror or error}") from error
    return outcome


class _NothingConverted(Exception):
    """Ends the writing of a target that would be empty."""


def _convert_split(source: Source, plan: Plan, outcome: Outcome, *, file: TextIO, report: TextIO | None) -> None:
    seen: set[str] = set()
    before = outcome.n_written
    with progress_bar(f"Converting {source.place}", total=len(source.rows), unit="rows") as advance:
        for number, row in enumerate(source.rows, start=1):
            outcome.n_read += 1
            try:
                value = row_value(row)
                written = _convert_row(value, plan)
            except DataError as error:
                place = row.get(PLACE) or f"{source.place}, row {number}"
                _refuse(Refused(place, str(error)), outcome, report)
            else:
                file.write(f"{written.line}\n")
                outcome.converted.update(written.converted)
                outcome.left_out.update(_left_out(value, plan.layout))
                _note_id(written.session_id, seen, outcome)
            if number % _ROWS_PER_STEP == 0:
                advance(_ROWS_PER_STEP)
        advance(len(source.rows) % _ROWS_PER_STEP)
    if outcome.n_written > before:
        outcome.files[str(plan.target.file(source.name))] = outcome.n_written - before


class _Converted(NamedTuple):
    line: str
    session_id: str
    converted: tuple[str, ...]


def _convert_row(value: Any, plan: Plan) -> _Converted:
    conversation = plan.layout.read(value)
    notes = list(conversation.converted)
    if conversation.tools is None and plan.tools:
        conversation = with_tools(conversation, plan.tools)
        notes.append("tools added to a row that has no place for them")
    session_id = conversation.session_id
    if session_id is None:
        session_id = content_id(value)
        conversation = replace(conversation, session_id=session_id)
        notes.append("session id made from the row's content")
    row = project_row(conversation)
    return _Converted(row.line, session_id, (*notes, *row.converted))


def _left_out(row: Mapping[str, Any], layout: Layout) -> Iterable[str]:
    """The columns of a row that have a value and no part in the conversation."""
    used = set(layout.columns.values())
    return (str(column) for column, value in row.items() if value is not None and column not in used)


def _note_id(session_id: str, seen: set[str], outcome: Outcome) -> None:
    if session_id in seen:
        outcome.n_repeated += 1
        if session_id not in outcome.repeated and len(outcome.repeated) < N_SHOWN:
            outcome.repeated.append(session_id)
    seen.add(session_id)


def _refuse(refused: Refused, outcome: Outcome, report: TextIO | None) -> None:
    outcome.n_refused += 1
    if len(outcome.refused) < N_SHOWN:
        outcome.refused.append(refused)
    if report is not None:
        report.write(json_line(refused._asdict()) + "\n")


@contextmanager
def _report_file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
    else:
        with whole_file(path) as file:
            yield file
