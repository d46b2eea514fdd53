"""Upload a finished run to the hub: `tool-sft push` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Upload, and print the address."""
    return run_command("push", argv, prog="python scripts/push.py")


if __name__ == "__main__":
    sys.exit(main())
