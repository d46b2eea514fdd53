"""Score a served model on the turns that training evaluates, through its OpenAI-compatible endpoint."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.util.cli import add_config, add_server, api_key, command_parser, json_object, positive, positive_number

if TYPE_CHECKING:
    from trainer.server_eval.evaluate import ServedOptions

_EXAMPLES = """
examples:
  %(prog)s --config configs/car_sales/quickstart.yaml --endpoint http://127.0.0.1:8000/v1 --model base
  %(prog)s --config configs/car_sales/qwen3-4b.yaml --endpoint http://127.0.0.1:8000/v1 \\
    --model Qwen/Qwen3-4B-Instruct-2507 --lora-name carsales --concurrency 64

Run the same command again to continue after an interruption; no turn is asked twice.
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add_config(parser)
    add_server(parser)
    add = parser.add_argument
    add("--model", required=True, metavar="NAME", help="model name on the server")
    add("--lora-name", metavar="NAME", help="adapter name on the server; requests then carry this name")
    add("--output", type=Path, metavar="DIR", help="result folder (default: served/NAME in train.output_dir)")
    add("--concurrency", type=positive, default=16, metavar="N", help="requests at the same time (default: 16)")
    add("--timeout", type=positive_number, default=600.0, metavar="S", help="seconds per request (default: 600)")
    add("--limit", type=positive, metavar="N", help="evaluate the first N turns only")
    add("--extra-body", type=json_object, default={}, metavar="JSON", help="more fields for every request")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Ask and score, then print the table and the place of the result."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # torch is not needed here
    from trainer.config import load_config

    cfg = load_config(args.config, args.overrides)
    options = make_options(args)

    from trainer.scoring.tables import before_after_table
    from trainer.server_eval.evaluate import evaluate_served
    from trainer.util.terminal import make_console

    result = evaluate_served(cfg, options)
    console = make_console()
    console.print(before_after_table(result.states, intervals=True))
    for note in result.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    console.print(f"Result: {result.output}", highlight=False, soft_wrap=True)
    return 0


def make_options(args: argparse.Namespace) -> "ServedOptions":
    """Return the command line as options of an evaluation. Raises `ConfigError`."""
    from trainer.endpoint import EndpointSettings
    from trainer.server_eval.evaluate import ServedOptions

    key = api_key(args.api_key_env)
    settings = EndpointSettings(args.endpoint, key, timeout_s=args.timeout, n_connections=args.concurrency)
    return ServedOptions(
        settings,
        args.model,
        lora_name=args.lora_name,
        output=args.output,
        limit=args.limit,
        extra_body=args.extra_body,
    )
