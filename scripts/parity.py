"""Check that a server does what was trained: `tool-sft parity` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Ask and compare, then print what differs."""
    return run_command("parity", argv, prog="python scripts/parity.py")


if __name__ == "__main__":
    sys.exit(main())
