"""Train on parts of the training sessions: `tool-sft curve` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is not finished, then print the figures and the verdict."""
    return run_command("curve", argv, prog="python scripts/curve.py")


if __name__ == "__main__":
    sys.exit(main())
