"""Score saved predictions again, without a model, and compare two sets of them. Generates nothing."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  python scripts/score.py runs/quickstart/predictions/final.jsonl
  python scripts/score.py final.jsonl --against base.jsonl
  python scripts/score.py final.jsonl --tools data/tool_calls.json --json scores.json
"""


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("predictions", type=Path, help="predictions, one JSON line per turn")
    parser.add_argument("--against", type=Path, metavar="OTHER", help="predictions of another model for the same turns")
    parser.add_argument("--tools", type=Path, help="tool schemas (default: tools.json beside the predictions)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write everything as JSON, too")
    parser.add_argument("--resamples", type=positive, default=1000, help="bootstrap resamples (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Print the tables; the exit code is 2 where the user has to mend something."""
    arguments = parse_arguments(argv)
    from trainer.errors import ToolSftError

    try:
        run(arguments)
    except (ToolSftError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Read, score, print and write."""
    from rich.console import Console

    from trainer.errors import DataError
    from trainer.eval_metrics import read_predictions, read_tools, score
    from trainer.run_layout import TOOLS_FILE
    from trainer.scoring.compare import compare
    from trainer.scoring.tables import comparison_tables, score_tables

    console = Console()
    settings = {"n_resamples": arguments.resamples, "seed": arguments.seed}
    predictions = read_predictions(arguments.predictions)
    if not predictions:
        raise DataError(f"{arguments.predictions}: holds no predictions")
    beside = arguments.predictions.with_name(TOOLS_FILE)
    if arguments.tools is None and not beside.is_file():
        raise DataError(f"{beside}: no tool schemas beside the predictions; name them with --tools")
    tools = read_tools(arguments.tools or beside)
    scores = score(predictions, tools, progress=True, **settings)
    result: dict[str, Any] = scores.to_json()
    for table in score_tables(scores):
        console.print(table)
    if arguments.against:
        comparison = compare(read_predictions(arguments.against), predictions, tools, **settings)
        result = comparison.to_json()
        for table in comparison_tables(comparison):
            console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        console.print(f"written: {arguments.json}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
