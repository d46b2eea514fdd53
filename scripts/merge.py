"""Merge a run's adapter into its base model, and check that the written model answers like it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from trainer.util.cli import exit_code

_EXAMPLES = """
examples:
  python scripts/merge.py --run runs/quickstart --output runs/quickstart-merged
  python scripts/merge.py --run runs/qwen3-4b --output /models/carsales --dtype float32

The output is a model folder of its own: model.base_model_name takes it, and so does scripts/serve.py --merged.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, merge, verify, and say how well it agrees."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder of scripts/train.py")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write; new or empty")
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float16", "float32"),
        help="precision of the stored weights (default: that of the training)",
    )
    parser.add_argument("--sessions", type=int, default=4, metavar="N", help="sessions to check with (default: 4)")
    args = parser.parse_args(argv)
    if args.sessions < 1:
        parser.error("--sessions: must be at least 1")
    with exit_code() as code:
        from trainer.training.finished_run import read_run

        run = read_run(args.run)

        from trainer.serving.merge import merge_run

        report = merge_run(run, args.output, dtype=args.dtype, n_sessions=args.sessions)
        for line in report.lines():
            print(line)
        print(f"Merged model: {args.output}")
    return code.value


if __name__ == "__main__":
    sys.exit(main())
