"""Replay a domain's real turns on a server at given concurrencies, and measure throughput and latency.

Every concurrency gets sessions of its own where there are enough, so that no level finds its prompts in a cache that
another one has filled. Needs no torch.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

# Where only the dependencies are installed, the packages are found beside this script.
sys.path.append(str(Path(__file__).resolve().parent.parent / "src"))

from trainer.util.cli import api_key, exit_code

if TYPE_CHECKING:
    from trainer.server_eval.load import LevelResult
    from trainer.types import EvalTurn

_EXAMPLES = """
examples:
  python scripts/bench_serving.py --config configs/car_sales/qwen3-4b.yaml --endpoint http://127.0.0.1:8000/v1 \\
    --model carsales --concurrency 1,4,16,64 --report bench.html --json bench.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, replay, print the table; the exit code is 1 where no request was answered."""
    args = _parse(argv)
    with exit_code() as code:
        from trainer.util.files import claim_file

        claim_file(args.json, option="--json")
        claim_file(args.report, option="--report")
        levels = _measure(args)
        _print(levels)
        settings = {"endpoint": args.endpoint, "model": args.model, "turns": args.turns}
        if args.json:
            content = {**settings, "levels": [level.to_json() for level in levels]}
            _write(args.json, json.dumps(content, indent=2) + "\n", option="--json")
        if args.report:
            from trainer.server_eval.load_report import report_html

            notes = f"{args.turns} turns of {args.config} at each concurrency, streamed by {args.endpoint}"
            _write(args.report, report_html(f"Load on {args.model}", levels, notes=notes), option="--report")
        code.value = 1 if any(level.n_errors == level.n_requests for level in levels) else 0
    return code.value


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, metavar="PATH", help="run configuration (YAML)")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="SECTION.KEY=VALUE")
    parser.add_argument("--endpoint", required=True, metavar="URL", help="address of the API, e.g. …:8000/v1")
    parser.add_argument("--model", required=True, metavar="NAME", help="model name on the server")
    parser.add_argument(
        "--concurrency", type=_levels, default=(1, 4, 16), metavar="N,N,…", help="open requests (default: 1,4,16)"
    )
    parser.add_argument("--turns", type=int, default=64, metavar="N", help="turns per concurrency (default: 64)")
    parser.add_argument("--timeout", type=float, default=600.0, metavar="S", help="seconds per request (default: 600)")
    parser.add_argument("--api-key-env", metavar="VAR", help="environment variable that holds the API key")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures as JSON")
    parser.add_argument("--report", type=Path, metavar="PATH", help="write a self-contained HTML report with plots")
    args = parser.parse_args(argv)
    if args.turns < 1:
        parser.error("--turns: must be at least 1")
    if max(args.concurrency) > args.turns:
        parser.error(f"--concurrency {max(args.concurrency)}: --turns {args.turns} are too few to keep so many open")
    return args


def _levels(text: str) -> tuple[int, ...]:
    levels = tuple(int(part) for part in text.split(","))
    if min(levels) < 1:
        raise ValueError
    return levels


def _measure(args: argparse.Namespace) -> list["LevelResult"]:
    from trainer.config import load_config
    from trainer.data.chat_setup import make_request_setup
    from trainer.data.domains import domain_turns, load_domain
    from trainer.endpoint import Dialect, Endpoint, EndpointSettings, Generation, turn_request
    from trainer.server_eval.load import measure
    from trainer.util.progress import progress_bar

    cfg = load_config(args.config, args.overrides)
    settings = EndpointSettings(args.endpoint, api_key(args.api_key_env), timeout_s=args.timeout)
    setup = make_request_setup(cfg)
    generation = Generation(
        args.model,
        cfg.eval.max_new_tokens_eval,
        temperature=cfg.eval.temperature,
        chat_template_kwargs=dict(setup.template_kwargs),
        keep_special_tokens=setup.keep_special_tokens,
    )
    turns = domain_turns(load_domain(cfg), cfg)
    dialect = Dialect()

    async def run() -> list["LevelResult"]:
        async with Endpoint(settings) as endpoint:
            await endpoint.require([args.model])
        results = []
        for concurrency, chosen in zip(args.concurrency, deal(turns, len(args.concurrency), args.turns), strict=True):
            bodies = [turn_request(turn, generation) for turn in chosen]
            with progress_bar(f"Concurrency {concurrency}", total=len(bodies), unit="requests") as advance:
                level = measure(
                    settings, bodies, concurrency=concurrency, dialect=dialect, on_done=advance, notify=_say
                )
                results.append(await level)
        return results

    return asyncio.run(run())


def deal(turns: Sequence["EvalTurn"], n_levels: int, n_turns: int) -> list[list["EvalTurn"]]:
    """`n_turns` turns for each level: whole sessions dealt in turn, gone through again where they are too few."""
    from trainer.errors import DataError

    sessions: dict[str, list[EvalTurn]] = {}
    for turn in turns:
        sessions.setdefault(turn.session_id, []).append(turn)
    if not sessions:
        raise DataError("data.eval_split has no assistant turn to replay")
    names = list(sessions)
    hands = []
    for level in range(n_levels):
        mine = [turn for name in names[level::n_levels] or names for turn in sessions[name]]
        hands.append([mine[index % len(mine)] for index in range(n_turns)])
    return hands


def _print(levels: Sequence["LevelResult"]) -> None:
    from rich.console import Console
    from rich.table import Table

    from trainer.server_eval.load_report import HEADER, table_rows

    table = Table(title="Times in ms: p50 / p90 / p99")
    for name in HEADER:
        table.add_column(name, justify="right")
    for row in table_rows(levels):
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(table)
    for level in levels:
        for text, n in level.errors.items():
            console.print(f"concurrency {level.concurrency}: {n} × {text}", highlight=False, markup=False)


def _write(path: Path, text: str, *, option: str) -> None:
    from trainer.util.files import write_file

    write_file(path, text, option=option)
    print(f"written: {path}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
