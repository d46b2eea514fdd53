"""Write the sample data of a domain: sessions with its simulated office.

The same seed gives the same bytes on every machine. Prints the paths of the files.
"""

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulator_kit.sessions import Simulation

ROOT = Path(__file__).parent.parent.parent


def main(argv: Sequence[str] | None = None) -> int:
    """Write `train.jsonl` and `test.jsonl` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    domains = sorted(path.parent.parent.name for path in (ROOT / "src").glob("*/simulator/sessions.py"))
    parser.add_argument("domain", choices=domains, help="package in src/ that has a simulator")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for the two files (default: data/DOMAIN)")
    parser.add_argument("--train", type=int, metavar="N", help="number of training sessions (default: as shipped)")
    parser.add_argument("--test", type=int, metavar="N", help="number of test sessions (default: as shipped)")
    parser.add_argument("--seed", type=int, help="seed of the random sessions (default: as shipped)")
    args = parser.parse_args(argv)
    simulation: Simulation[Any] = importlib.import_module(f"{args.domain}.simulator.sessions").SIMULATION
    output = args.output or ROOT / "data" / args.domain
    output.mkdir(parents=True, exist_ok=True)
    seed = simulation.seed if args.seed is None else args.seed
    for split, given in (("train", args.train), ("test", args.test)):
        n_sessions = simulation.n_sessions[split] if given is None else given
        path = output / f"{split}.jsonl"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for row in simulation.sessions(split, n_sessions=n_sessions, seed=seed):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        print(f"{n_sessions} sessions: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
