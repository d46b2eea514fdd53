"""Compare the training of this project with TRL's SFTTrainer and with a plain Trainer: speed, memory and loss.

All systems train the same adapter, from the same start, on the same rows in the same order, each in its own process.
Their runs alternate, and the medians of the steps after warm-up count. `matrix_share` is the project's share of what
plain matrix products of its precision reach in the same process; it counts the products that training needs, nothing
twice.
"""

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from train_side import SIDES, matrix_rate
from train_task import RANDOM_MODELS, Rows, flops, prepare, write_rows

ROOT = Path(__file__).parent.parent
_EXAMPLES = """
examples:
  uv run python benchmarks/train.py --json train.json
  uv run python benchmarks/train.py --batch 2 --dropout 0 --sides project trl
  uv run python benchmarks/train.py --sides project --batch 1 --dropout 0 --busy 2
  uv run python benchmarks/train.py --random qwen3-4b --row-tokens 8192   # on a GPU, no network
"""
_OUT_OF_MEMORY = ("can't allocate memory", "bad_alloc", "MemoryError")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all cases, print the table, write the file."""
    args = _parse(argv)
    sys.path[:0] = [str(ROOT / "src")]
    from trainer.util.cli import exit_code
    from trainer.util.files import claim_file, replace_json

    target = args.json and args.json.resolve()
    os.chdir(ROOT)
    with exit_code() as code, tempfile.TemporaryDirectory() as folder:
        claim_file(target, option="--json")
        place = Path(folder)
        products = {dtype: round(matrix_rate(dtype) / 1e9, 1) for dtype in ("float32", "bfloat16")}
        print("matrix products: {float32:.0f} GFLOP/s in float32, {bfloat16:.0f} in bfloat16".format(**products))
        task, shapes = prepare(args, place)
        cases = []
        for batch in args.batch:
            rows = write_rows(args, place / f"rows-{batch}.json", n_rows=batch * args.steps)
            for dropout in args.dropout:
                case = {**task, "batch": batch, "rows": str(rows.path), "adapter": str(place / f"adapter-{dropout}")}
                cases.append(measure(args, case, rows, shapes, dropout=dropout))
                print(line(cases[-1]), flush=True)
        result: dict[str, Any] = {"cases": cases, "machine": machine(), "matrix_gflops": products}
        result["date"] = f"{datetime.now(UTC):%Y-%m-%d}"
        if target:
            replace_json(target, result)
        if args.busy:
            result["under_load"] = under_load(args, case)
            print("{busy} busy processes: {ratio:.2f} × the quiet time a step".format(**result["under_load"]))
        if target:
            replace_json(target, result)
    return code.value


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="systems to compare (default: all)")
    add("--batch", nargs="+", type=int, default=[1, 2, 8], metavar="N", help="rows per step (default: 1 2 8)")
    add("--dropout", nargs="+", type=float, default=[0.0, 0.05], metavar="P", help="of the adapter (default: 0 0.05)")
    add("--rank", type=int, default=64, metavar="R", help="of the adapter, on all linear layers (default: 64)")
    add("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="of the base model's weights")
    add("--warmup", type=int, default=2, metavar="N", help="steps that are not measured (default: 2)")
    add("--steps", type=int, default=8, metavar="N", help="measured steps (default: 8)")
    add("--repeats", type=int, default=1, metavar="N", help="processes of each system, alternating (default: 1)")
    add("--row-tokens", type=int, metavar="N", help="join sessions to rows of this length (default: one session a row)")
    add("--random", choices=sorted(RANDOM_MODELS), help="random weights of this size instead of the embedded model")
    add("--checkpointing", action="store_true", help="with gradient checkpointing, in all systems")
    add("--liger", action="store_true", help="TRL with Liger kernels (on a GPU)")
    add("--flash", metavar="NAME", help="TRL's attention implementation on a GPU, e.g. flash_attention_2")
    add("--busy", type=int, default=0, metavar="N", help="also the project's last case beside N busy processes")
    add("--json", type=Path, metavar="PATH", help="also write the figures as JSON")
    args = parser.parse_args(argv)
    args.steps += args.warmup
    return args


def measure(
    args: argparse.Namespace, task: dict[str, Any], rows: Rows, shapes: dict[str, Any], *, dropout: float
) -> dict[str, Any]:
    """Return the figures of one case: medians over the steps after warm-up of all repeats."""
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in args.sides}
    failed: set[str] = set()
    for repeat in range(args.repeats):
        for side in args.sides if repeat % 2 == 0 else reversed(args.sides):
            if side in failed:
                continue
            run = run_side(side, task)
            runs[side].append(run or {})
            failed |= set() if run else {side}
    batch, measured = task["batch"], range(args.warmup, args.steps)

    def of_each(figure: Callable[[str], Any]) -> dict[str, Any]:
        return {side: None if side in failed else figure(side) for side in args.sides}

    def per_second(side: str, counts: Sequence[int]) -> float:
        rates: list[float] = [
            sum(counts[step * batch : (step + 1) * batch]) / run["seconds"][step]
            for run in runs[side]
            for step in measured
        ]
        return round(statistics.median(rates), 1)

    shares = [
        sum(flops(rows, range(step * batch, (step + 1) * batch), shapes) for step in measured)
        / sum(run["seconds"][step] for step in measured)
        / run["matrix_flops_per_s"]
        for run in (() if "project" in failed else runs.get("project", ()))
    ]
    return {
        "batch": batch,
        "dropout": dropout,
        "model": args.random or "SmolLM2-135M",
        "row_tokens": round(statistics.mean(rows.n_tokens)),
        "tokens_per_s": of_each(lambda side: per_second(side, rows.n_tokens)),
        "supervised_tokens_per_s": of_each(lambda side: per_second(side, rows.n_supervised)),
        "peak_memory_gb": of_each(lambda side: round(max(run["peak_memory_gb"] for run in runs[side]), 2)),
        "loss": of_each(lambda side: round(statistics.mean(runs[side][0]["losses"]), 5)),
        "losses": of_each(lambda side: runs[side][0]["losses"]),
        "out_of_memory": sorted(failed),
        "matrix_share": round(statistics.median(shares), 3) if shares else None,
    }


def run_side(side: str, task: dict[str, Any]) -> dict[str, Any] | None:
    """Train with one system in a process of its own; return what it measured, or None if it ran out of memory."""
    with tempfile.TemporaryDirectory() as folder:
        place, result = Path(folder) / "task.json", Path(folder) / "result.json"
        place.write_text(json.dumps(task), encoding="utf-8")
        script = str(Path(__file__).with_name("train_side.py"))
        command = [sys.executable, script, "--side", side, "--task", str(place), "--result", str(result)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == -signal.SIGKILL or any(words in done.stderr for words in _OUT_OF_MEMORY):
            return None
        if done.returncode:
            raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def under_load(args: argparse.Namespace, task: dict[str, Any]) -> dict[str, Any]:
    """Return the project's seconds a step on a quiet machine and beside busy processes."""

    def seconds() -> float:
        run = run_side("project", task)
        if run is None:
            raise SystemExit("project: out of memory; take a smaller last --batch")
        return float(statistics.median(run["seconds"][args.warmup :]))

    quiet = seconds()
    with busy_processes(args.busy):
        loaded = seconds()
    return {"busy": args.busy, "quiet_s": quiet, "loaded_s": loaded, "ratio": round(loaded / quiet, 2)}


@contextmanager
def busy_processes(n: int) -> Iterator[None]:
    """Inside the block, `n` processes use a core each."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def machine() -> str:
    """Return processor family and model number (or the GPU's name), number of cores, and memory."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    found = {
        key: m[1] for key in ("vendor_id", "cpu family", "model") if (m := re.search(rf"^{key}\s*: (.+)$", text, re.M))
    }
    named = f"{found['vendor_id']} family {found['cpu family']} model {found['model']}" if len(found) == 3 else ""
    return f"{named or platform.processor()}, {os.cpu_count()} cores"


def line(case: dict[str, Any]) -> str:
    """Return the figures of a case as a line."""
    first = f"batch {case['batch']}, dropout {case['dropout']:g}:"
    sides = [
        f"{side} out of memory"
        if loss is None
        else f"{side} {case['tokens_per_s'][side]:.0f} tok/s, {case['peak_memory_gb'][side]:.2f} GB, loss {loss:.4f}"
        for side, loss in case["loss"].items()
    ]
    share = f"; {case['matrix_share']:.0%} of matrix products" if case["matrix_share"] else ""
    return f"{first} {'; '.join(sides)}{share}"


if __name__ == "__main__":
    sys.exit(main())
