"""Score saved predictions again: `tool-sft score` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Read and score, then print the tables."""
    return run_command("score", argv, prog="python scripts/score.py")


if __name__ == "__main__":
    sys.exit(main())
