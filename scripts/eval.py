"""Score a served model on the turns that training judges, through its OpenAI-compatible endpoint."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Where only the dependencies are installed, the packages are found beside this script.
sys.path.append(str(Path(__file__).resolve().parent.parent / "src"))

from trainer.util.cli import api_key, exit_code

if TYPE_CHECKING:
    from trainer.server_eval.evaluate import ServedOptions

_EXAMPLES = """
examples:
  python scripts/eval.py --config configs/car_sales/quickstart.yaml --endpoint http://127.0.0.1:8000/v1 --model base
  python scripts/eval.py --config configs/car_sales/qwen3-4b.yaml --endpoint http://127.0.0.1:8000/v1 \\
    --model Qwen/Qwen3-4B-Instruct-2507 --lora-name carsales --concurrency 64

The same command again goes on where an interrupted one stopped; no turn is asked twice.
"""


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def positive_number(text: str) -> float:
    """A finite number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError
    return value


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", required=True, metavar="PATH", help="run configuration (YAML)")
    add("--endpoint", required=True, metavar="URL", help="base address of the API, e.g. http://127.0.0.1:8000/v1")
    add("--model", required=True, metavar="NAME", help="model as the server registers it")
    add("--lora-name", metavar="NAME", help="adapter as the server registers it; requests then carry this name")
    add("--output", type=Path, metavar="DIR", help="result folder (default: served/NAME in train.output_dir)")
    add("--concurrency", type=positive, default=16, metavar="N", help="requests at the same time (default: 16)")
    add("--timeout", type=positive_number, default=600.0, metavar="S", help="seconds per request (default: 600)")
    add("--api-key-env", metavar="VAR", help="environment variable that holds the API key")
    add("--limit", type=positive, metavar="N", help="judge the first N turns only")
    add("--extra-body", type=json_object, default={}, metavar="JSON", help="more fields for every request")
    add(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        help="override one key of the configuration; may be given several times",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, score, print the table and where the result lies."""
    args = parse_arguments(argv)
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that torch is missing is as it should be
    with exit_code() as code:
        from trainer.config import load_config

        cfg = load_config(args.config, args.overrides)
        options = make_options(args)

        from rich.console import Console

        from trainer.scoring.tables import before_after_table
        from trainer.server_eval.evaluate import evaluate_served

        result = evaluate_served(cfg, options)
        console = Console()
        console.print(before_after_table(result.states, intervals=True))
        for note in result.notes:
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        console.print(f"Result: {result.output}", highlight=False, soft_wrap=True)
    return code.value


def make_options(args: argparse.Namespace) -> "ServedOptions":
    """The command line as options of an evaluation. Raises `ConfigError`."""
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


if __name__ == "__main__":
    sys.exit(main())
