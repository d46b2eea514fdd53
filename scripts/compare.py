"""Compare runs turn by turn: `tool-sft compare` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Read and compare, then print the tables."""
    return run_command("compare", argv, prog="python scripts/compare.py")


if __name__ == "__main__":
    sys.exit(main())
