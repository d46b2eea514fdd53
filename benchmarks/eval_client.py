"""Turns per second that `scripts/eval.py` sustains against a server that answers immediately.

This includes everything that an evaluation does per turn: it sends the request, reads the answer in two ways and
writes a line. The server runs in its own process.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
REQUIRED = 500.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure several times and report the best rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1000, help="turns to ask (default: 1000)")
    parser.add_argument("--concurrency", type=int, default=64, help="requests at the same time (default: 64)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements; the best counts (default: 3)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures as JSON")
    args = parser.parse_args(argv)
    os.chdir(ROOT)
    results = [measure(n_turns=args.turns, concurrency=args.concurrency) for _ in range(args.repeats)]
    best = max(results, key=lambda result: float(result["turns_per_s"]))
    print(f"{best['turns_per_s']:.0f} turns/s, {args.concurrency} at a time (required: at least {REQUIRED:g})")
    ratio = best["client_cpu_seconds"] / best["plain_cpu_seconds"]
    print(
        f"{best['client_cpu_seconds'] / args.turns * 1000:.2f} ms of the client's processor time per turn, "
        f"{ratio:.2f} × that of the HTTP client alone"
    )
    if args.json:
        args.json.write_text(json.dumps(best, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(*, n_turns: int, concurrency: int) -> dict[str, Any]:
    """The figures of one evaluation of `n_turns` real turns of the sample data."""
    from dataclasses import replace

    import car_sales
    from trainer.config import load_config
    from trainer.endpoint import Answer, Endpoint, EndpointSettings, Generation, turn_request
    from trainer.endpoint.schedule import ask_turns
    from trainer.server_eval.journal import Journal
    from trainer.server_eval.readings import read_twice
    from trainer.tool_calls import get_format
    from trainer.types import EvalTurn

    cfg = load_config(ROOT / "configs" / "car_sales" / "quickstart.yaml")
    sample = car_sales.read_turns(cfg)
    turns = [
        replace(turn, session_id=f"{turn.session_id}-{position // len(sample)}")
        for position, turn in enumerate(islice(cycle(sample), n_turns))
    ]
    generation, fmt = Generation("base", max_tokens=cfg.eval.max_new_tokens_eval), get_format("hermes")
    n_errors = 0

    async def ask(url: str, journal: Journal) -> None:
        def keep(turn: EvalTurn, answer: Answer) -> None:
            nonlocal n_errors
            n_errors += answer.error is not None
            journal.add(read_twice(turn, answer, fmt).strict, answer)

        async with Endpoint(EndpointSettings(url, n_connections=concurrency)) as endpoint:
            await ask_turns(
                turns,
                lambda turn: endpoint.chat(turn_request(turn, generation)),
                concurrency=concurrency,
                on_answer=keep,
            )

    with stub_server() as url, tempfile.TemporaryDirectory() as folder, Journal(Path(folder), {}) as journal:
        started, cpu_started = time.perf_counter(), time.process_time()
        asyncio.run(ask(url, journal))
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        bodies = [turn_request(turn, generation) for turn in turns]
        plain_started, cpu_started = time.perf_counter(), time.process_time()
        asyncio.run(ask_plainly(url, bodies, concurrency=concurrency))
        plain_seconds, plain_cpu_seconds = time.perf_counter() - plain_started, time.process_time() - cpu_started
    return {
        "turns_per_s": round(n_turns / seconds, 1),
        "n_turns": n_turns,
        "n_errors": n_errors,
        "concurrency": concurrency,
        "seconds": round(seconds, 3),
        "client_cpu_seconds": round(cpu_seconds, 3),
        "plain_seconds": round(plain_seconds, 3),
        "plain_cpu_seconds": round(plain_cpu_seconds, 3),
    }


async def ask_plainly(url: str, bodies: Sequence[Mapping[str, Any]], *, concurrency: int) -> None:
    """Send requests for the same turns with the HTTP client alone, and only parse the answers."""
    import httpx2

    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    free = asyncio.Semaphore(concurrency)

    async def ask(client: httpx2.AsyncClient, body: Mapping[str, Any]) -> None:
        async with free:
            (await client.post(f"{url}/chat/completions", json=body)).raise_for_status().json()

    async with httpx2.AsyncClient(limits=limits) as client:
        await asyncio.gather(*(ask(client, body) for body in bodies))


@contextlib.contextmanager
def stub_server() -> Iterator[str]:
    """Run a server inside the block, in its own process, that answers immediately; yields its address."""
    command = [sys.executable, str(ROOT / "tests" / "support" / "stub_server.py")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
