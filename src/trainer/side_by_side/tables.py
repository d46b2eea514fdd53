"""Show comparisons and lists of runs in a terminal of 80 columns, without cutting a name. Computes nothing."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from trainer.scoring.compare import Comparison, Flip
from trainer.scoring.rates import RATES
from trainer.scoring.score import MACRO_F1
from trainer.side_by_side.comparing import SidesCompared
from trainer.util.plain_text import printable

TEST = "differs beyond chance (sign-flip test over sessions; corrected for all rates but turn_exact)"

_N_FLIPS = 20
_ARROWS = {"higher": "↑", "lower": "↓"}
_BETTER = {rate.name: _ARROWS[rate.better] for rate in RATES} | {MACRO_F1: _ARROWS["higher"]}
_ANSWERED = "_answered"


def plain_table(*headers: str, title: str, numbers: Sequence[str] = ()) -> Table:
    """Return an empty table that breaks long cells over lines; the columns in `numbers` are aligned to the right."""
    table = Table(
        title=Text(title),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for header in headers:
        is_number = header in numbers
        table.add_column(header, overflow="fold", justify="right" if is_number else "left", no_wrap=is_number)
    return table


def cell(value: object) -> Text:
    """Return what a cell shows: text of runs and data with its control characters written out, and no markup."""
    return Text(printable(str(value)))


def sides_tables(compared: SidesCompared) -> Iterator[RenderableType]:
    """For each side its differences from the first, the conclusion and the flipped turns; then settings and notes."""
    reference = compared.sides[0]
    yield cell(f"A (reference)  {reference.name}")
    for letter, side in zip(letters(len(compared.sides))[1:], compared.sides[1:], strict=True):
        yield cell(f"{letter}              {side.name}")
    for letter, comparison in zip(letters(len(compared.sides))[1:], compared.comparisons, strict=True):
        yield ""
        yield _difference_table(comparison, letter)
        yield from map(Text, sentences(comparison, letter))
        if any(row.verdict for row in comparison.differences.values()):
            yield Text(f"* {TEST}")
        if comparison.flips:
            yield ""
            yield _flip_table(comparison, letter)
    if compared.settings:
        yield ""
        yield _settings_table(compared)
    for note in compared.notes:
        yield cell(f"note: {note}")


def letters(n_sides: int) -> list[str]:
    """Return short names of the sides: A to Z, then S27 and so on."""
    return [chr(ord("A") + index) if index < 26 else f"S{index + 1}" for index in range(n_sides)]


def _difference_table(comparison: Comparison, letter: str) -> Table:
    headers = ("metric", "A", letter, "change", "95% interval", "p")
    table = plain_table(
        *headers, title=f"{letter} minus A (↑ higher is better, ↓ lower is better)", numbers=headers[1:]
    )
    have_errors = any(scores.metrics["n_errors"] for scores in (comparison.first, comparison.second))
    for name, row in comparison.differences.items():
        if name.endswith(_ANSWERED) and not have_errors:
            continue
        interval = "–" if row.interval is None else f"[{row.interval[0]:+.3f}, {row.interval[1]:+.3f}]"
        table.add_row(
            f"{name} {_BETTER[name]}",
            f"{row.first:.3f}",
            f"{row.second:.3f}",
            f"{row.difference:+.3f}{' *' if row.verdict else '  '}",
            Text(interval),
            "–" if row.p_value is None else f"{row.p_value:.3f}",
        )
    return table


def better_arrow(metric: str) -> str:
    """Return an arrow in the direction in which a metric is better."""
    return _BETTER[metric]


def sentences(comparison: Comparison, letter: str) -> Iterator[str]:
    """Yield what was compared, which turns flipped, how many answers failed, and the conclusion."""
    n_gained = sum(flip.gained for flip in comparison.flips)
    yield (
        f"{comparison.n_paired} turns compared, {comparison.n_unpaired} left out; in {letter}, {n_gained} became exact "
        f"and {len(comparison.flips) - n_gained} stopped being exact."
    )
    for name, scores in (("A", comparison.first), (letter, comparison.second)):
        n_errors, n_cut = scores.metrics["n_errors"], scores.metrics["n_truncated"]
        if n_errors or n_cut:
            yield f"{name}: {n_errors} answers failed, {n_cut} were cut; they make no calls, right or wrong."
    yield f"{comparison.conclusion()}."


def _flip_table(comparison: Comparison, letter: str) -> Table:
    n_hidden = max(len(comparison.flips) - _N_FLIPS, 0)
    note = f" (first {_N_FLIPS}; {n_hidden} more with --json)" if n_hidden else ""
    table = plain_table("session", "turn", "exact in", "why not in the other", title=f"Flipped turns{note}")
    worst_first: list[Flip] = sorted(comparison.flips, key=lambda flip: flip.gained)
    for flip in worst_first[:_N_FLIPS]:
        where = letter if flip.gained else "A"
        table.add_row(cell(flip.session_id), str(flip.turn), where, cell(", ".join(flip.reasons)))
    return table


def _settings_table(compared: SidesCompared) -> Table:
    table = plain_table("setting", *letters(len(compared.sides)), title="Settings that differ")
    for key, values in compared.settings.items():
        table.add_row(cell(key), *map(cell, values))
    return table
