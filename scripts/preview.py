"""Show one session as the model will be trained on it: `tool-sft preview` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Read one session and print it."""
    return run_command("preview", argv, prog="python scripts/preview.py")


if __name__ == "__main__":
    sys.exit(main())
