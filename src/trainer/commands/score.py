"""Score saved predictions again, without a model, and compare two sets of them. Generates nothing."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.util.cli import command_parser

_EXAMPLES = """
examples:
  %(prog)s runs/quickstart/predictions/final.jsonl
  %(prog)s final.jsonl --against base.jsonl
  %(prog)s final.jsonl --tools data/tool_calls.json --json scores.json
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add = parser.add_argument
    add("predictions", type=Path, help="predictions, one JSON line per turn")
    add("--against", type=Path, metavar="OTHER", help="predictions of another model for the same turns")
    add("--tools", type=Path, metavar="PATH", help="tool schemas (default: tools.json beside the predictions)")
    add("--json", type=Path, metavar="PATH", help="also write everything as JSON")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Read and score, then print the tables and write the file."""
    from trainer.eval_metrics import read_predictions, score
    from trainer.scoring.compare import compare
    from trainer.scoring.saved import read_saved
    from trainer.scoring.tables import comparison_tables, score_tables
    from trainer.util.files import claim_file, write_file
    from trainer.util.terminal import make_console

    claim_file(args.json, option="--json")
    predictions, tools = read_saved(args.predictions, tools=args.tools)
    scores = score(predictions, tools, progress=True)
    result: dict[str, Any] = scores.to_json()
    tables = list(score_tables(scores))
    if args.against:
        comparison = compare(read_predictions(args.against), predictions, tools)
        result = comparison.to_json()
        tables += comparison_tables(comparison)
    console = make_console()
    for table in tables:
        console.print(table)
    if args.json:
        write_file(args.json, json.dumps(result, indent=2, allow_nan=False) + "\n", option="--json")
        console.print(f"Written: {args.json}", highlight=False, soft_wrap=True)
    return 0
