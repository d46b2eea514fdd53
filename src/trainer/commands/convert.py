"""Write rows of any known layout as JSON Lines of this project's layout, and count what was converted.

IN is a file, a folder with a file per split, or a hub dataset. OUT is a file if IN is one, or if it ends in .jsonl;
else it is a folder with one file per split. The exit code is 1 if some rows were not converted; OUT holds the others.
"""

import argparse
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.util.cli import command_parser

if TYPE_CHECKING:
    from trainer.data.conversion.convert import Outcome

logger = logging.getLogger(__name__)

_EXAMPLES = """
examples:
  %(prog)s sharegpt.jsonl rows.jsonl
  %(prog)s rows.parquet rows.jsonl --report not-converted.jsonl
  %(prog)s someone/tool-conversations rows --layout '{"name": "openai", "messages": "chat"}'
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add = parser.add_argument
    add("source", metavar="IN", help="file (.jsonl, .json, .parquet, .csv …), folder, or hub dataset")
    add("out", metavar="OUT", type=Path, help="file (.jsonl) or folder to write")
    add("--layout", metavar="NAME", help="layout of the rows, or its name and columns as JSON (default: recognized)")
    add("--split", metavar="NAME", help="convert only this split; slices such as train[:100] work")
    add("--tools", type=Path, metavar="PATH", help="tool schemas of rows that have no place for tools")
    add("--report", type=Path, metavar="PATH", help="write every row that was not converted, as JSON Lines")
    add("--overwrite", action="store_true", help="replace OUT if it exists")
    add("--json", action="store_true", help="print the summary as JSON instead")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Convert, then print the counts."""
    from trainer.data.conversion.convert import convert
    from trainer.data.conversion.plan import plan_conversion

    plan = plan_conversion(
        args.source,
        args.out,
        split=args.split,
        layout=args.layout,
        tools_path=args.tools,
        report=args.report,
        overwrite=args.overwrite,
    )
    if not args.json:
        _print(plan.explanation)
    outcome = convert(plan)
    if outcome.n_repeated:
        logger.warning(
            "rows with the session id of an earlier row: %s (%s); give every session its own id before training",
            outcome.n_repeated, ", ".join(outcome.repeated),
        )  # fmt: skip
    if args.json:
        print(json.dumps(outcome.to_json(plan), indent=2))
    else:
        _print(_summary(outcome, args.report))
    return 1 if outcome.n_refused else 0


def _summary(outcome: "Outcome", report: Path | None) -> Iterator[str]:
    yield f"rows read: {outcome.n_read}"
    yield f"rows written: {outcome.n_written}"
    for path, n in outcome.files.items():
        yield f"  {n} to {path}"
    if not outcome.n_written:
        yield "  no file is written, because no row could be converted"
    yield from _counts("converted", outcome.converted)
    yield from _counts("columns left out, with the rows that have them", outcome.left_out)
    if outcome.n_refused:
        yield f"rows not converted: {outcome.n_refused}"
    for refused in outcome.refused:
        yield f"  {refused.place}: {refused.reason}"
    n_more = outcome.n_refused - len(outcome.refused)
    if n_more:
        yield f"  and {n_more} more; {report or '--report PATH'} has all of them"
    elif outcome.n_refused and report:
        yield f"  written to {report}"


def _counts(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    if counts:
        yield f"{title}:"
    for what, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield f"  {n} × {what}"


def _print(lines: Iterator[str] | Sequence[str]) -> None:
    """Print lines; half a surrogate pair of a row, which no terminal can show, becomes an escape."""
    for line in lines:
        print(line.encode("utf-8", "backslashreplace").decode())
