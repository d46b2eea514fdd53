"""Score a served model: `tool-sft eval` as a script, which also works if this package is not installed."""

import sys
from collections.abc import Sequence
from pathlib import Path

# If only the dependencies are installed, the packages are found beside this script.
sys.path.append(str(Path(__file__).resolve().parent.parent / "src"))

from trainer.commands.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Ask and score, then print the table and the place of the result."""
    return run_command("eval", argv, prog="python scripts/eval.py")


if __name__ == "__main__":
    sys.exit(main())
