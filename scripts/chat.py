"""Talk to a finished run in the terminal: `tool-sft chat` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Load the model or connect to the server, and talk."""
    return run_command("chat", argv, prog="python scripts/chat.py")


if __name__ == "__main__":
    sys.exit(main())
