"""Serve a finished run: `tool-sft serve` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Fill in the flags, and become the server."""
    return run_command("serve", argv, prog="python scripts/serve.py")


if __name__ == "__main__":
    sys.exit(main())
