"""Train a LoRA adapter from one YAML file: `tool-sft train` as a script."""

import sys
from collections.abc import Sequence

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Train, then print the table and the place of the run folder."""
    return run_command("train", argv, prog="python scripts/train.py")


if __name__ == "__main__":
    sys.exit(main())
