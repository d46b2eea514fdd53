"""Train a LoRA adapter from one YAML file, and measure the model's tool calls before and after."""

import argparse
from collections.abc import Sequence

from trainer.util.cli import add_config, command_parser
from trainer.util.messages import is_first_process

_EXAMPLES = """
examples:
  %(prog)s --config configs/car_sales/quickstart.yaml
  %(prog)s --config configs/car_sales.yaml --set train.report_to=none --set train.push_to_hub=false
  %(prog)s --config configs/car_sales.yaml --resume    (go on with an interrupted run)
  accelerate launch -m trainer train --config configs/car_sales/qwen3-4b.yaml    (one process per GPU)
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add_config(parser)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the interrupted run in the output folder, from its newest complete checkpoint",
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Train, then print the table and the place of the run folder."""
    from trainer.config import load_config

    overrides = [*args.overrides, *(["train.resume_from_checkpoint=true"] if args.resume else [])]
    cfg = load_config(args.config, overrides)

    from trainer.training.preflight import preflight

    preflight(cfg)  # what is wrong is reported before torch is imported

    from trainer.guard.measures import guard_rows, guard_shortfalls
    from trainer.guard.table import guard_table
    from trainer.reports.folder import read_run_files
    from trainer.run_layout import RunLayout
    from trainer.scoring.advice.shortfalls import shortfalls
    from trainer.scoring.saved import compare_states
    from trainer.scoring.tables import before_after_table
    from trainer.training.train import train_run
    from trainer.util.terminal import make_console

    result = train_run(cfg)
    if not is_first_process():
        return 0
    console = make_console()
    comparison = compare_states(result.output_dir)
    evidence = read_run_files(result.output_dir).evidence()
    sentences = [*(shortfalls(comparison, evidence) if comparison else ()), *guard_shortfalls(result.guard)]
    for sentence in sentences:
        console.print(f"Warning: {sentence}", style="yellow", highlight=False)
    console.print(before_after_table(result.states))
    if guard_rows(result.guard):
        console.print(guard_table(result.guard))
    console.print(f"Run folder: {result.output_dir}", highlight=False, soft_wrap=True)
    if (report := RunLayout(result.output_dir).report).is_file():
        console.print(f"Report:     {report}", highlight=False, soft_wrap=True)
    return 0
