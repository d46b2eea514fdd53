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
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from train_side import SIDES, matrix_rate

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "car_sales" / "quickstart.yaml"
_EXAMPLES = """
examples:
  uv run python benchmarks/train.py --json train.json
  uv run python benchmarks/train.py --batch 2 --dropout 0 --sides project trl
  uv run python benchmarks/train.py --sides project --batch 1 --dropout 0 --busy 2
  uv run python benchmarks/train.py --random qwen3-4b --row-tokens 8192   # on a GPU, no network
"""
RANDOM_MODELS: dict[str, dict[str, Any]] = {
    "tiny": {
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    },
    "smollm2-360m": {
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 960, "intermediate_size": 2560,
        "num_hidden_layers": 32, "num_attention_heads": 15, "num_key_value_heads": 5, "tie_word_embeddings": True,
    },
    "qwen3-4b": {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "tie_word_embeddings": True,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of all steps, how many tokens each has, and how many of these carry loss."""

    path: Path
    n_tokens: tuple[int, ...]
    n_supervised: tuple[int, ...]


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
        if args.busy:
            result["under_load"] = under_load(args, {**case, "batch": args.batch[-1]})
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


def prepare(args: argparse.Namespace, place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the model if it is a random one, and the start of the adapters; return the task and the model's shapes."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    from trainer.config import load_config
    from trainer.model_source import base_model_place

    folder = base_model_place(load_config(CONFIG)).name
    model_folder = folder
    if args.random:
        values = dict(RANDOM_MODELS[args.random])
        torch.manual_seed(0)
        random_config: Any = CONFIG_MAPPING[values.pop("model_type")]
        config = random_config(**values, max_position_embeddings=32768)
        model_folder = str(place / "model")
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.bfloat16)
    config = model.config
    linear = [m.weight.shape for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]
    for dropout in args.dropout:
        torch.manual_seed(0)
        lora = LoraConfig(
            r=args.rank, lora_alpha=args.rank, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        adapted: Any = get_peft_model(model, lora)
        adapted.save_pretrained(place / f"adapter-{dropout}")
        model = adapted.unload()
    shapes = {
        "weights": sum(out * into for out, into in linear),
        "lora": sum(args.rank * (out + into) for out, into in linear),
        "attention": config.num_hidden_layers * config.num_attention_heads * model.model.layers[0].self_attn.head_dim,
        "head": config.vocab_size * config.hidden_size,
    }
    settings = {name: getattr(args, name) for name in ("checkpointing", "liger", "flash", "dtype")}
    return {
        **settings, "model": model_folder, "tokenizer": folder, "steps": args.steps, "scratch": str(place / "scratch")
    }, shapes  # fmt: skip


def write_rows(args: argparse.Namespace, path: Path, *, n_rows: int) -> Rows:
    """Write rows of the sample data, in the order of the file."""
    from trainer.config import load_config
    from trainer.data.domains import domain_datasets, load_domain

    cfg = load_config(CONFIG, ["data.train_split=train", "data.eval_split=test[:1]", "data.n_tool_sessions_eval=1"])
    found = domain_datasets(load_domain(cfg), cfg).train_dataset
    sessions = [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in found]
    rows: list[dict[str, list[int]]] = []
    position = 0
    while len(rows) < n_rows:
        row: dict[str, list[int]] = {"input_ids": [], "labels": []}
        while not row["input_ids"] or len(row["input_ids"]) < (args.row_tokens or 0):
            session = sessions[position % len(sessions)]
            position += 1
            row = {key: row[key] + list(session[key]) for key in row}
        rows.append({key: values[: args.row_tokens] for key, values in row.items()})
    path.write_text(json.dumps(rows), encoding="utf-8")
    return Rows(
        path, tuple(len(row["input_ids"]) for row in rows), tuple(sum(t != -100 for t in row["labels"]) for row in rows)
    )


def measure(
    args: argparse.Namespace, task: dict[str, Any], rows: Rows, shapes: dict[str, Any], *, dropout: float
) -> dict[str, Any]:
    """Return the figures of one case: medians over the steps after warm-up of all repeats."""
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in args.sides}
    for repeat in range(args.repeats):
        for side in args.sides if repeat % 2 == 0 else reversed(args.sides):
            runs[side].append(run_side(side, task))
    batch, measured = task["batch"], range(args.warmup, args.steps)

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
        for run in runs.get("project", [])
    ]
    return {
        "batch": batch,
        "dropout": dropout,
        "model": args.random or "SmolLM2-135M",
        "row_tokens": round(statistics.mean(rows.n_tokens)),
        "tokens_per_s": {side: per_second(side, rows.n_tokens) for side in args.sides},
        "supervised_tokens_per_s": {side: per_second(side, rows.n_supervised) for side in args.sides},
        "peak_memory_gb": {side: round(max(run["peak_memory_gb"] for run in runs[side]), 2) for side in args.sides},
        "loss": {side: round(statistics.mean(runs[side][0]["losses"]), 5) for side in args.sides},
        "losses": {side: runs[side][0]["losses"] for side in args.sides},
        "matrix_share": round(statistics.median(shares), 3) if shares else None,
    }


def run_side(side: str, task: dict[str, Any]) -> dict[str, Any]:
    """Train with one system in a process of its own; return what it measured."""
    with tempfile.TemporaryDirectory() as folder:
        place, result = Path(folder) / "task.json", Path(folder) / "result.json"
        place.write_text(json.dumps(task), encoding="utf-8")
        script = str(Path(__file__).with_name("train_side.py"))
        command = [sys.executable, script, "--side", side, "--task", str(place), "--result", str(result)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def flops(rows: Rows, which: range, shapes: dict[str, Any]) -> float:
    """Return the floating-point operations of the matrix products that a step on these rows needs.

    Frozen weights need no gradient, so their products count once forward and once backward, and causal attention counts
    half of its square. Nothing is computed again.
    """
    total = 0.0
    for row in which:
        tokens, supervised = rows.n_tokens[row], rows.n_supervised[row]
        total += 2 * tokens * (2 * shapes["weights"] + 3 * shapes["lora"])
        total += 3 * 2 * 2 * shapes["attention"] * tokens * tokens / 2
        total += 2 * 2 * supervised * shapes["head"]
    return total


def under_load(args: argparse.Namespace, task: dict[str, Any]) -> dict[str, Any]:
    """Return the project's seconds a step on a quiet machine and beside busy processes."""

    def seconds() -> float:
        steps: list[float] = run_side("project", task)["seconds"]
        return statistics.median(steps[args.warmup :])

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
        f"{side} {case['tokens_per_s'][side]:.0f} tok/s, {case['peak_memory_gb'][side]:.2f} GB, loss {loss:.4f}"
        for side, loss in case["loss"].items()
    ]
    share = f"; {case['matrix_share']:.0%} of matrix products" if case["matrix_share"] else ""
    return f"{first} {'; '.join(sides)}{share}"


if __name__ == "__main__":
    sys.exit(main())
