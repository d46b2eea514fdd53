"""Merge a run's adapter into its base model, and check that the merged model answers like the adapter."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from trainer.util.cli import add_base, command_parser, positive

_EXAMPLES = """
examples:
  %(prog)s --run runs/quickstart --output runs/quickstart-merged
  %(prog)s --run runs/qwen3-4b --output /models/carsales --dtype float32

The output is a complete model folder. Serve it with `tool-sft serve --merged`, or use it as model.base_model_name.
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder of a finished training")
    add_base(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write; new or empty")
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float16", "float32"),
        help="precision of the stored weights (default: that of the training)",
    )
    parser.add_argument("--sessions", type=positive, default=4, metavar="N", help="sessions to check with (default: 4)")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Merge, verify, and print how well the two agree."""
    from trainer.training.finished_run import read_run

    finished = read_run(args.run, base=args.base)

    from trainer.serving.merge import merge_run

    report = merge_run(finished, args.output, dtype=args.dtype, n_sessions=args.sessions)
    for line in report.lines():
        print(line)
    print(f"Merged model: {args.output}")
    return 0
