"""Upload a finished run to a repository of the Hugging Face hub, private unless --public is given.

Only the adapter, the tokenizer, the chat template, the model card and metrics.json go up. Predictions, served
evaluations, checkpoints, the configuration and everything else stay. The token is that of `hf auth login`, or HF_TOKEN.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from trainer.util.cli import command_parser

_EXAMPLES = """
examples:
  %(prog)s --run runs/qwen3-4b --repo me/qwen3-4b-carsales
  %(prog)s --run runs/qwen3-4b --repo me/qwen3-4b-carsales --public
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder of a finished training")
    parser.add_argument("--repo", required=True, metavar="ID", help="repository, such as owner/name; made if missing")
    parser.add_argument("--public", action="store_true", help="let everybody see the repository (default: private)")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Upload, and print the address."""
    from trainer.training.publishing.upload import Target, push_run

    print(f"Uploaded: {push_run(args.run, Target(args.repo, private=not args.public))}")
    return 0
