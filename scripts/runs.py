"""List all runs under a folder: `tool-sft runs` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Find the runs, then print the table."""
    return run_command("runs", argv, prog="python scripts/runs.py")


if __name__ == "__main__":
    sys.exit(main())
