"""Merge a run's adapter into its base model: `tool-sft merge` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Merge, verify, and print how well the two agree."""
    return run_command("merge", argv, prog="python scripts/merge.py")


if __name__ == "__main__":
    sys.exit(main())
