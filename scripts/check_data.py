"""Check every row of both splits before training: `tool-sft check` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Check the data and print what is wrong with it."""
    return run_command("check", argv, prog="python scripts/check_data.py")


if __name__ == "__main__":
    sys.exit(main())
