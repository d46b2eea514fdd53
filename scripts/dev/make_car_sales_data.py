"""Write the sample data of the car-sales domain: sessions with a simulated dealership.

The same seed gives the same bytes on every machine. Prints the paths of the files.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from car_sales.simulator.sessions import make_sessions

DEFAULT_OUTPUT = Path(__file__).parent.parent.parent / "data" / "car_sales"


def main(argv: Sequence[str] | None = None) -> int:
    """Write `train.jsonl` and `test.jsonl` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder for the two files")
    parser.add_argument("--train", type=int, default=400, metavar="N", help="number of training sessions")
    parser.add_argument("--test", type=int, default=100, metavar="N", help="number of test sessions")
    parser.add_argument("--seed", type=int, default=3, help="seed of the random sessions")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    for split, n_sessions in (("train", args.train), ("test", args.test)):
        path = args.output / f"{split}.jsonl"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for row in make_sessions(split, n_sessions=n_sessions, seed=args.seed):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        print(f"{n_sessions} sessions: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
