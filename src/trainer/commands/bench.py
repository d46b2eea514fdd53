"""Replay a domain's real turns on a server at several concurrencies, and measure throughput and latency.

Each concurrency sends its turns twice: cold, with a salt that keeps their prompts out of every cache, and then again,
warm. Each gets sessions of its own if there are enough. Needs no torch. The exit code is 1 if a concurrency got no
answer at all.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.util.cli import add_config, add_server, api_key, command_parser, positive, positive_number

if TYPE_CHECKING:
    from trainer.server_eval.load import LevelResult

_EXAMPLES = """
examples:
  %(prog)s --config configs/car_sales/qwen3-4b.yaml --endpoint http://127.0.0.1:8000/v1 \\
    --model carsales --concurrency 1,4,16,64 --report bench.html --json bench.json
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add_config(parser)
    add_server(parser)
    add = parser.add_argument
    add("--model", required=True, metavar="NAME", help="model name on the server")
    add("--concurrency", type=levels, default=(1, 4, 16), metavar="N,N,…", help="open requests (default: 1,4,16)")
    add(
        "--turns",
        type=positive,
        default=64,
        metavar="N",
        help="turns per concurrency, each sent cold and warm (default: 64)",
    )
    add("--timeout", type=positive_number, default=600.0, metavar="S", help="seconds per request (default: 600)")
    add("--json", type=Path, metavar="PATH", help="write the figures as JSON")
    add("--report", type=Path, metavar="PATH", help="write a self-contained HTML report with plots")
    args = parser.parse_args(argv)
    if max(args.concurrency) > args.turns:
        parser.error(f"--concurrency {max(args.concurrency)}: --turns {args.turns} are too few to keep so many open")
    return args


def levels(text: str) -> tuple[int, ...]:
    """Parse a list of concurrencies.

    >>> levels("1,4,16")
    (1, 4, 16)
    """
    return tuple(positive(part) for part in text.split(","))


def run(args: argparse.Namespace) -> int:
    """Replay, print the table, and write the files."""
    from trainer.config import load_config
    from trainer.endpoint import EndpointSettings, base_url
    from trainer.util.files import claim_file

    claim_file(args.json, option="--json")
    claim_file(args.report, option="--report")
    cfg = load_config(args.config, args.overrides)
    settings = EndpointSettings(args.endpoint, api_key(args.api_key_env), timeout_s=args.timeout)

    from trainer.server_eval.replay import replay

    found = replay(cfg, settings, model=args.model, concurrencies=args.concurrency, n_turns=args.turns)
    _print(found)
    if args.json:
        facts = {"endpoint": base_url(args.endpoint), "model": args.model, "turns": args.turns}
        content = {**facts, "levels": [level.to_json() for level in found]}
        _write(args.json, json.dumps(content, indent=2) + "\n", option="--json")
    if args.report:
        from trainer.server_eval.load_report import report_html

        notes = f"{args.turns} turns of {args.config} at each concurrency, streamed by {base_url(args.endpoint)}"
        _write(args.report, report_html(f"Load on {args.model}", found, notes=notes), option="--report")
    return 1 if any(level.n_errors == level.n_requests for level in found) else 0


def _print(levels: Sequence["LevelResult"]) -> None:
    from trainer.server_eval.cold_prompts import cold_note
    from trainer.server_eval.load_report import HEADER, table_rows
    from trainer.util.terminal import FirstThatFits, folding_table, make_console

    console = make_console()
    title, rows = "Times in ms: p50 / p90 / p99, of cold prompts unless named warm", table_rows(levels)
    wide = folding_table(*HEADER, title=title, justify="right")
    for row in rows:
        wide.add_row(*row)
    concurrencies, *others = zip(HEADER, *rows, strict=True)
    narrow = folding_table(*concurrencies, title=title, justify="right")
    for other in others:
        narrow.add_row(*other)
    console.print(FirstThatFits(wide, narrow))
    for level in levels:
        for part in (level, level.warm):
            for text, n in part.errors.items() if part is not None else ():
                console.print(f"concurrency {level.concurrency}: {n} × {text}", highlight=False, markup=False)
        if (note := cold_note(level)) is not None and level.n_errors < level.n_requests:
            console.print(note, highlight=False, markup=False)


def _write(path: Path, text: str, *, option: str) -> None:
    from trainer.util.files import write_file

    write_file(path, text, option=option)
    print(f"Written: {path}")
