"""Train a configuration in several variants, one after the other, and print how each does on the same turns.

Every variant is a whole `tool-sft train` in a process and a folder of its own. The same command continues after an
interruption: a variant whose run is finished is read, not trained again.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.run_layout import FINAL, RunLayout
from trainer.util.files import claim_file, replace_json

_EXAMPLES = """
examples:
  python benchmarks/ablations.py --config configs/car_sales/quickstart.yaml \\
    --try train.learning_rate=0.0003 --try train.learning_rate=0.03 --try 'data.train_split=train[:20]'
  python benchmarks/ablations.py --config configs/car_sales/quickstart.yaml \\
    --set eval.evaluate_base=false --try 'lora.r=4 lora.alpha=8' --json ablations.json
"""
_RATES = (
    "turn_exact", "tool_name_f1", "arguments_exact_match", "hallucination_rate", "missed_call_rate", "perplexity",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Train and judge all variants, then print the table and write the file."""
    args = _parse(argv)
    claim_file(args.json, option="--json")
    rows = []
    for variant in ("", *args.variants):
        run = args.into / (variant.replace("/", "-") or "unchanged")
        if not RunLayout(run).metrics.is_file():
            train(args.config, [*args.overrides, *shlex.split(variant)], run)
        rows.append({"variant": variant or "unchanged", **figures(run)})
    print(table(rows))
    if args.json is not None:
        replace_json(args.json, {"config": str(args.config), "set": args.overrides, "variants": rows})
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = run_parser(__doc__, _EXAMPLES, into="runs/ablations")
    parser.add_argument(
        "--try", action="append", default=[], dest="variants", metavar="'KEY=VALUE …'", help="one more run, with this"
    )
    return parser.parse_args(argv)


def run_parser(description: str | None, examples: str, *, into: str) -> argparse.ArgumentParser:
    """Return a parser of what several runs of one configuration need."""
    parser = argparse.ArgumentParser(
        description=description, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", type=Path, required=True, help="configuration of which all runs are variants")
    add("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help="changed in every run")
    add("--into", type=Path, default=Path(into), metavar="DIR", help=f"folder of the runs (default: {into})")
    add("--json", type=Path, metavar="PATH", help="also write the figures as JSON")
    return parser


def train(config: Path, overrides: Sequence[str], run: Path) -> None:
    """Run one training, or continue it. Raises `CalledProcessError` if it fails."""
    words = [word for override in [*overrides, f"train.output_dir={run}"] for word in ("--set", override)]
    resume = ["--resume"] if RunLayout(run).unfinished.is_dir() else []
    command = [sys.executable, "-m", "trainer", "train", "--config", str(config), *words, *resume]
    print(f"$ {shlex.join(command[1:])}", file=sys.stderr, flush=True)
    subprocess.run(command, check=True)


def figures(run: Path) -> dict[str, Any]:
    """Return the final rates of a finished run with their intervals, its steps, and its last training loss."""
    metrics = json.loads(RunLayout(run).metrics.read_text(encoding="utf-8"))
    final, train = metrics[FINAL], metrics["train"]
    intervals = final.get("intervals") or {}
    rates = {name: {"value": final.get(name), "interval": intervals.get(name)} for name in _RATES}
    return {"steps": train["n_steps"], "loss": train["loss"], **rates}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table of the figures."""
    lines = [f"| variant | steps | loss | {' | '.join(_RATES)} |", "|---|" + "---:|" * (len(_RATES) + 2)]
    for row in rows:
        cells = [f"`{row['variant']}`", str(row["steps"]), f"{row['loss']:.3f}", *(_shown(row[r]) for r in _RATES)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return "–"
    interval = f" ({rate['interval'][0]:.2f}–{rate['interval'][1]:.2f})" if rate["interval"] else ""
    return f"{rate['value']:.3f}{interval}"


if __name__ == "__main__":
    raise SystemExit(main())
