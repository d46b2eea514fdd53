"""Compare runs, served evaluations or saved predictions turn by turn, with intervals and a test. Generates nothing."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from trainer.util.cli import command_parser

_EXAMPLES = """
each side is one of
  RUN          a run folder: its final state
  RUN:STATE    another state of it: base, final, step-40
  SERVED       a folder that eval wrote (SERVED:lenient: the lenient reading)
  FILE         a predictions file

examples:
  %(prog)s runs/quickstart:base runs/quickstart
  %(prog)s runs/first runs/second runs/third --html comparison.html
  %(prog)s runs/quickstart runs/quickstart/served/quickstart
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add = parser.add_argument
    add("sides", nargs="+", metavar="SIDE", help="two or more sides; the first is the reference")
    add("--tools", type=Path, metavar="PATH", help="tool schemas (default: tools.json beside the predictions)")
    add("--html", type=Path, metavar="PATH", help="also write a page with curves and the flipped turns")
    add("--json", type=Path, metavar="PATH", help="also write everything as JSON")
    args = parser.parse_args(argv)
    if len(args.sides) < 2:
        parser.error("name two sides or more; a run's two states are RUN:base RUN")
    return args


def run(args: argparse.Namespace) -> int:
    """Read and compare, then print the tables and write the files."""
    from trainer.side_by_side.comparing import compare_sides
    from trainer.side_by_side.comparison_page import comparison_page
    from trainer.side_by_side.sides import read_side, tools_of
    from trainer.side_by_side.tables import sides_tables
    from trainer.util.files import claim_file, write_file
    from trainer.util.terminal import make_console

    claim_file(args.html, option="--html")
    claim_file(args.json, option="--json")
    sides = [read_side(word) for word in args.sides]
    compared = compare_sides(sides, tools_of(sides, named=args.tools))
    console = make_console()
    for part in sides_tables(compared):
        console.print(part)
    if args.html:
        write_file(args.html, comparison_page(compared), option="--html")
        console.print(f"Written: {args.html}", highlight=False, markup=False, soft_wrap=True)
    if args.json:
        text = json.dumps(compared.to_json(), indent=2, allow_nan=False) + "\n"
        write_file(args.json, text, option="--json")
        console.print(f"Written: {args.json}", highlight=False, markup=False, soft_wrap=True)
    return 0
