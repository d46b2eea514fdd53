"""End to end: serve a run, score the served model, and compare it with the run's own in-process evaluation.

Runs three servers in turn: vLLM with base model and adapter, vLLM with the merged model, and the small server that
needs no vLLM. scripts/eval.py scores each one and scripts/parity.py checks it. Every server is stopped at the end.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from e2e_outcome import Outcome, compare, print_outcomes
from server_process import exiting_on_sigterm, free_port, running, wait_for_model

from trainer.errors import EndpointError, OutputError
from trainer.run_layout import FINAL, RunLayout
from trainer.util.cli import exit_code
from trainer.util.files import claim_file, write_file

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "car_sales" / "quickstart.yaml"
KINDS = ("adapter", "merged", "local")

_EXAMPLES = """
examples:
  python benchmarks/e2e_vllm.py --vllm ~/vllm/bin/vllm --json e2e.json
  python benchmarks/e2e_vllm.py --vllm ~/vllm/bin/vllm --limit 24 --only adapter
  python benchmarks/e2e_vllm.py --only local

The exit code is 1 if a rate is outside the 95% interval of the run's final state, if a prompt differs or could not be
compared, or if a turn has no answer.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Start and measure one server after the other, and print the table."""
    args = _parse(argv)
    kinds = [kind for kind in args.only or KINDS if args.vllm or kind == "local"]
    if not args.vllm and args.only is None:
        print("skipped: no vLLM (give --vllm PATH, or make e2e-vllm VLLM=DIR/bin/vllm); --only local runs without it")
        return 0
    with exit_code() as code, exiting_on_sigterm():
        if not kinds:
            raise EndpointError("the servers in --only need --vllm PATH")
        if args.vllm:
            args.vllm = _program(args.vllm)
        claim_file(args.json, option="--json")
        run = _run_folder(args.run.resolve())
        outcomes = []
        with tempfile.TemporaryDirectory(prefix="e2e-") as scratch:
            for kind in kinds:
                outcomes.append(_measure(kind, run, Path(scratch), args))
                print_outcomes(outcomes)
                if args.json:
                    _write(args.json, run, outcomes, args)
        code.value = 0 if all(outcome.passes for outcome in outcomes) else 1
    return code.value


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vllm", metavar="PATH", help="the vllm program; without it, everything is skipped")
    parser.add_argument(
        "--run", type=Path, default=Path("runs/quickstart"), metavar="DIR", help="default: runs/quickstart"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="judge only the first N turns")
    parser.add_argument("--parity-turns", type=int, default=16, metavar="N", help="turns to compare (default: 16)")
    parser.add_argument(
        "--concurrency", type=int, default=8, metavar="N", help="concurrent requests to vLLM (default: 8)"
    )
    parser.add_argument("--only", nargs="+", choices=KINDS, help="measure only these servers (default: all)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures as JSON")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the servers' logs here")
    return parser.parse_args(argv)


def _program(name: str) -> str:
    """The absolute path of a program. Raises `EndpointError`."""
    found = shutil.which(name)
    if found is None:
        raise EndpointError(f"--vllm {name}: no such program")
    return str(Path(found).absolute())


def _run_folder(run: Path) -> Path:
    """The run to serve; trains the quickstart first if the folder does not exist. Raises `OutputError`."""
    if not run.exists():
        _say(f"{run} does not exist: training the quickstart into it")
        _script("train.py", "--config", CONFIG, "--set", f"train.output_dir={run}")
    if not RunLayout(run).predictions(FINAL).is_file():
        raise OutputError(f"{run}: has no predictions of its final state to compare with; give a finished run")
    return run


def _measure(kind: str, run: Path, scratch: Path, args: argparse.Namespace) -> Outcome:
    name, port = "e2e", free_port()
    command = ["--run", run, "--name", name, "--port", port]
    if kind == "merged":
        merged = scratch / "merged"
        _script("merge.py", "--run", run, "--output", merged)
        command += ["--merged", merged]
    command += ["--engine", "transformers"] if kind == "local" else ["--vllm", args.vllm]
    logs: Path = args.logs or scratch
    logs.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}/v1"
    result, parity = scratch / f"served-{kind}", scratch / f"parity-{kind}.json"
    started = time.monotonic()
    log = logs / f"{kind}.log"
    with running([sys.executable, ROOT / "scripts" / "serve.py", *command], cwd=ROOT, log=log) as process:
        wait_for_model(url, name, process=process, log=log, say=_say)
        start_s = time.monotonic() - started
        _say(f"{kind}: ready after {start_s:.0f} s")
        arguments = ["--config", RunLayout(run).config, "--set", f"train.output_dir={run}"]
        arguments += ["--endpoint", url, "--model", name, "--output", result]
        arguments += ["--concurrency", args.concurrency if kind != "local" else 1]
        arguments += ["--limit", args.limit] if args.limit else []
        started = time.monotonic()
        _script("eval.py", *arguments)
        eval_s = time.monotonic() - started
        compared = ["--run", run, "--endpoint", url, "--model", name, "--turns", args.parity_turns, "--json", parity]
        _script("parity.py", *compared, "--concurrency", args.concurrency if kind != "local" else 1, may_fail=True)
    return compare(kind, run, result, parity, start_s=start_s, eval_s=eval_s)


def _script(name: str, *arguments: object, may_fail: bool = False) -> None:
    """Run a script of this repository and show its output."""
    command = [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)]
    _say("$ python scripts/" + " ".join([name, *map(str, arguments)]))
    result = subprocess.run(command, cwd=ROOT, check=False)
    if result.returncode and not (may_fail and result.returncode == 1):
        raise EndpointError(f"scripts/{name} failed with exit code {result.returncode}")


def _write(path: Path, run: Path, outcomes: Sequence[Outcome], args: argparse.Namespace) -> None:
    content = {
        "run": str(run),
        "limit": args.limit,
        "vllm": args.vllm,
        "servers": [{**asdict(outcome), "passes": outcome.passes} for outcome in outcomes],
    }
    write_file(path, json.dumps(content, indent=2) + "\n", option="--json")


def _say(text: str) -> None:
    print(f"[e2e] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
