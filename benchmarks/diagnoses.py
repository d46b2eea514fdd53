"""Spoil a training in three ways, and print what each run says about itself.

The three are ten times the learning rate, answers that were exchanged between sessions, and only eight sessions. Each
is a whole `tool-sft train`, beside one that is not spoiled. The same command continues after an interruption.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablations import figures, run_parser, train

from trainer.config import load_config
from trainer.reports.folder import read_run_files
from trainer.run_layout import RunLayout
from trainer.scoring.advice.shortfalls import shortfalls
from trainer.scoring.saved import compare_states
from trainer.util.files import claim_file, replace_json

_EXAMPLES = """
example:
  python benchmarks/diagnoses.py --config configs/car_sales/quickstart.yaml --sessions 24 \\
    --set train.num_train_epochs=3 --set 'data.eval_split=test[:6]' --json diagnoses.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Train all variants, and print the warnings of each with its exact turns before and after."""
    args = _parse(argv)
    claim_file(args.json, option="--json")
    cfg = load_config(args.config, args.overrides)
    split = cfg.data.train_split.partition("[")[0]
    shuffled = args.into / "shuffled"
    exchange_answers(Path(str(cfg.data.dataset_name)), shuffled, split=split)
    whole = f"data.train_split={split}[:{args.sessions}]"
    variants = {
        "unchanged": [whole],
        "learning-rate": [whole, f"train.learning_rate={10 * args.rate:g}"],
        "shuffled-answers": [whole, f"data.dataset_name={shuffled}"],
        "eight-sessions": [f"data.train_split={split}[:8]"],
    }
    rows = []
    for name, overrides in variants.items():
        run = args.into / name
        if not RunLayout(run).metrics.is_file():
            train(args.config, [f"train.learning_rate={args.rate:g}", *args.overrides, *overrides], run)
        rows.append({"variant": name, **figures(run), "sentences": sentences(run)})
        print(f"{name}: exact turns {rows[-1]['turn_exact']['value']:.3f}", flush=True)
        print(*(f"  {sentence}" for sentence in rows[-1]["sentences"]), sep="\n", flush=True)
    if args.json is not None:
        replace_json(args.json, {"config": str(args.config), "set": args.overrides, "variants": rows})
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = run_parser(__doc__, _EXAMPLES, into="runs/diagnoses")
    add = parser.add_argument
    add("--sessions", type=int, default=24, metavar="N", help="training sessions (default: 24)")
    add("--rate", type=float, default=0.003, help="learning rate that is not spoiled (default: 0.003)")
    return parser.parse_args(argv)


def sentences(run: Path) -> list[str]:
    """Return what the run says about itself before its table."""
    comparison = compare_states(run)
    return shortfalls(comparison, read_run_files(run).evidence()) if comparison else []


def exchange_answers(dataset: Path, into: Path, *, split: str) -> None:
    """Write a copy of a dataset in which the calls, and the other answers, of a split are those of any of its turns.

    A call stays a call, with its id, so the conversations have the form that they had.
    """
    into.mkdir(parents=True, exist_ok=True)
    for file in dataset.glob("*.jsonl"):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        if file.stem == split:
            _exchange([turn for row in rows for turn in _answers(row)])
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (into / file.name).write_text("".join(lines), encoding="utf-8")


def _answers(row: dict[str, Any]) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = row.get("conversation") or row.get("messages") or []
    return [turn for turn in turns if turn["role"] == "assistant"]


def _exchange(turns: list[dict[str, Any]]) -> None:
    chance = random.Random(0)
    texts = [turn for turn in turns if not turn.get("tool_calls")]
    contents = [turn["content"] for turn in texts]
    chance.shuffle(contents)
    for turn, content in zip(texts, contents, strict=True):
        turn["content"] = content
    calls = [call for turn in turns for call in turn.get("tool_calls") or []]
    functions = [call["function"] for call in calls]
    chance.shuffle(functions)
    for call, function in zip(calls, functions, strict=True):
        call["function"] = function


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
