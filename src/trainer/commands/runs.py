"""List all runs under a folder with their main results, also unfinished and unreadable ones. Changes nothing."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from trainer.util.cli import command_parser

_SORT_KEYS = (
    "date", "name", "base_model", "n_steps", "turn_exact", "tool_name_f1", "arguments_exact_match",
    "hallucination_rate", "missed_call_rate", "perplexity", "runtime_s",
)  # fmt: skip
_EXAMPLES = """
examples:
  %(prog)s --sort turn_exact
  %(prog)s experiments --json runs.json
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=Path("runs"), help="folder that holds runs (default: runs)")
    add("--sort", metavar="KEY", choices=_SORT_KEYS, default="date",
        help=f"best or newest first (default: date); one of {', '.join(_SORT_KEYS)}")  # fmt: skip
    add("--html", type=Path, metavar="PATH", help="also write the table as a page")
    add("--json", type=Path, metavar="PATH", help="also write everything as JSON")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Find and sort the runs, then print the table and write the files."""
    from trainer.side_by_side.all_runs import find_runs, sorted_runs
    from trainer.side_by_side.runs_page import runs_page
    from trainer.side_by_side.runs_table import run_tables
    from trainer.util.files import claim_file, write_file
    from trainer.util.terminal import make_console

    claim_file(args.html, option="--html")
    claim_file(args.json, option="--json")
    runs = sorted_runs(find_runs(args.folder), args.sort)
    console = make_console()
    for part in run_tables(runs):
        console.print(part)
    if args.html:
        write_file(args.html, runs_page(runs, title=f"Runs in {args.folder}"), option="--html")
        console.print(f"Written: {args.html}", highlight=False, markup=False, soft_wrap=True)
    if args.json:
        text = json.dumps([run.to_json() for run in runs], indent=2, allow_nan=False) + "\n"
        write_file(args.json, text, option="--json")
        console.print(f"Written: {args.json}", highlight=False, markup=False, soft_wrap=True)
    return 0
