"""Write rows of any known layout as rows of this project's layout: `tool-sft convert` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Convert, then print the counts."""
    return run_command("convert", argv, prog="python scripts/convert.py")


if __name__ == "__main__":
    sys.exit(main())
