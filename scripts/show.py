"""Show data to people: `tool-sft show` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Print a session, or write the page of the dataset."""
    return run_command("show", argv, prog="python scripts/show.py")


if __name__ == "__main__":
    sys.exit(main())
