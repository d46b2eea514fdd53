"""Train on parts of the training sessions, and say whether more data or more steps would help."""

import argparse
from collections.abc import Sequence

from trainer.util.cli import add_config, command_parser
from trainer.util.messages import is_first_process

_EXAMPLES = """
examples:
  %(prog)s --config configs/car_sales/quickstart.yaml
  %(prog)s --config my.yaml --set train.num_train_epochs=2 --set train.eval_strategy=epoch
  %(prog)s --config my.yaml --shares 10,25,50,100

The runs are in the folder train.output_dir with -curve after its name. The same command goes on after an interruption.
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add_config(parser)
    parser.add_argument(
        "--shares",
        type=shares,
        default=(25, 50, 100),
        metavar="LIST",
        help="parts of the training sessions in percent, up to 100 (default: 25,50,100)",
    )
    return parser.parse_args(argv)


def shares(text: str) -> tuple[int, ...]:
    """Parse percentages that rise up to 100.

    >>> shares("50,100")
    (50, 100)
    """
    parts = text.split(",")
    numbers = sorted({int(part) for part in parts if part.strip().isdecimal()})
    if len(numbers) != len(parts) or len(numbers) < 2 or numbers[0] < 1 or numbers[-1] != 100:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; must be two or more different whole numbers from 1 to 100, with 100: 25,50,100"
        )
    return tuple(numbers)


def run(args: argparse.Namespace) -> int:
    """Show the plan, train what is not finished, then print the figures and the verdict."""
    from trainer.config import load_config
    from trainer.learning_curve.shares import check_curve

    cfg = load_config(args.config, args.overrides)
    check_curve(cfg, args.shares)  # what is wrong is reported before torch is imported

    from trainer.learning_curve.curve import COMPARISON_FILE, CURVE_FILE, train_curve
    from trainer.learning_curve.plan import make_plan
    from trainer.learning_curve.tables import curve_tables, plan_tables
    from trainer.util.terminal import make_console

    plan = make_plan(cfg, args.shares)
    console = make_console()
    if is_first_process() and any(planned.state != "finished" for planned in plan.runs):
        for part in plan_tables(plan):
            console.print(part)
    curve = train_curve(plan)
    if curve is None:
        return 0
    for part in curve_tables(curve):
        console.print(part)
    for name in (CURVE_FILE, COMPARISON_FILE):
        if (path := curve.folder / name).is_file():
            console.print(f"Written: {path}", highlight=False, markup=False, soft_wrap=True)
    return 0
