"""Measure a server under load: `tool-sft bench` as a script, which also works if this package is not installed."""

import sys
from collections.abc import Sequence
from pathlib import Path

# If only the dependencies are installed, the packages are found beside this script.
sys.path.append(str(Path(__file__).resolve().parent.parent / "src"))

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Replay, print the table, and write the files."""
    return run_command("bench", argv, prog="python scripts/bench_serving.py")


if __name__ == "__main__":
    sys.exit(main())
