"""Train a LoRA adapter from one YAML file, and measure the model's tool calls before and after."""

import argparse
import sys
from collections.abc import Sequence

from trainer.util.cli import exit_code

_EXAMPLES = """
examples:
  python scripts/train.py --config configs/car_sales/quickstart.yaml
  python scripts/train.py --config configs/car_sales.yaml --set train.report_to=none --set train.push_to_hub=false
  accelerate launch scripts/train.py --config configs/car_sales/qwen3-4b.yaml
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, train, and print where the result lies."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, metavar="PATH", help="run configuration (YAML)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        help="override one key of the configuration; may be given several times",
    )
    args = parser.parse_args(argv)
    with exit_code() as code:
        from trainer.config import load_config

        cfg = load_config(args.config, args.overrides)

        from rich.console import Console

        from trainer.scoring.tables import before_after_table
        from trainer.training.train import train_run

        result = train_run(cfg)
        console = Console()
        console.print(before_after_table(result.states))
        console.print(f"Run folder: {result.output_dir}", highlight=False, soft_wrap=True)
    return code.value


if __name__ == "__main__":
    sys.exit(main())
