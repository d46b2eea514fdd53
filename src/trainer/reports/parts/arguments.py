"""Count what is wrong with arguments, by tool, argument and kind, with an example. Decides no equality."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from trainer.reports.parts.calls import KIND_TEXTS, json_text, paths_of_pair
from trainer.reports.parts.judged import JudgedState
from trainer.reports.views import Cell, Column, Table
from trainer.scoring.judging import JudgedTurn, well_formed
from trainer.types import Prediction

_MOST_ROWS = 60
_MOST_EXAMPLE = 90
_INDEX = re.compile(r"\[\d+\]")
_COLUMNS = (
    Column("tool"),
    Column("argument"),
    Column("what is wrong"),
    Column("calls", is_number=True),
    Column("gold, for example"),
    Column("predicted"),
)


class ArgumentError(NamedTuple):
    """One thing wrong with one argument of one call: the tool, the path without positions, what, and both values."""

    tool: str
    path: str
    kind: str
    gold: str
    predicted: str


def argument_errors(state: JudgedState) -> list[list[ArgumentError]]:
    """Return the errors of every well-formed call of a state, one list for each call that has any.

    Differences are those from the matched gold call. Violations of the tool's schema count for every call.
    """
    found = []
    for prediction, judged in zip(state.predictions, state.judged, strict=True):
        found += [errors for errors in _of_turn(state, prediction, judged) if errors]
    return found


def _of_turn(state: JudgedState, prediction: Prediction, judged: JudgedTurn) -> Iterator[list[ArgumentError]]:
    if judged.verdict.exact is None or (judged.verdict.exact and not judged.schema_problems):
        return
    specs = state.specs(prediction)
    pair_of = {pair.predicted: index for index, pair in enumerate(judged.pairs)}
    for position, call in enumerate(well_formed(prediction.calls)):
        errors = []
        if position in pair_of and not judged.pairs[pair_of[position]].exact:
            errors += [
                ArgumentError(
                    call.name,
                    _INDEX.sub("[]", path.path),
                    KIND_TEXTS[path.kind],
                    json_text(path.gold, most=_MOST_EXAMPLE),
                    json_text(path.predicted, most=_MOST_EXAMPLE),
                )
                for path in paths_of_pair(prediction, judged, pair_of[position], specs)
                if path.kind != "same"
            ]
        if call.name in specs:
            for violation in specs.violations(call):
                place, _, text = violation.message.partition(": ")
                path = _INDEX.sub("[]", place.removeprefix("$").removeprefix(".")) or "(whole call)"
                kind = f"schema: {violation.kind.replace('_', ' ')}"
                errors.append(ArgumentError(call.name, path, kind, "–", text[: 2 * _MOST_EXAMPLE]))
        yield errors


def argument_table(errors: list[list[ArgumentError]], *, state: str) -> Table:
    """Return the errors, most frequent first, counted once for each call, with the first example of each."""
    counts: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], ArgumentError] = {}
    for call in errors:
        for error in call:
            examples.setdefault(error[:3], error)
        counts.update({error[:3] for error in call})
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = tuple(
        (
            Cell(tool),
            Cell(path),
            Cell(kind),
            Cell(f"{n:,}", n),
            Cell(examples[tool, path, kind].gold),
            Cell(examples[tool, path, kind].predicted),
        )
        for (tool, path, kind), n in ordered[:_MOST_ROWS]
    )
    n_more = len(ordered) - len(rows)
    note = f"{n_more:,} rarer kinds of errors are not shown." if n_more > 0 else None
    return Table(f"What is wrong with arguments ({state})", _COLUMNS, rows, note)


def errors_by_tool(errors: list[list[ArgumentError]]) -> dict[str, Counter[str]]:
    """Return, for each tool, how many calls have something wrong with each argument, apart from its schema."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for call in errors:
        for tool, path in {(error.tool, error.path) for error in call if not error.kind.startswith("schema")}:
            found[tool][path] += 1
    return found
