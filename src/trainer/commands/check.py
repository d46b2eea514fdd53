"""Check every row of both splits before training: errors and warnings with place and remedy, lengths, calls per tool.

Exit code: 0 without errors, 1 if the data has errors, 2 if the configuration, the tool file or the dataset cannot be
read at all.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from trainer.util.cli import add_config, command_parser

if TYPE_CHECKING:
    from trainer.checking.summary import DataSummary
    from trainer.config import Config
    from trainer.data.chat_setup import ChatSetup
    from trainer.data.prepare import Prepared

_EXAMPLES = """
examples:
  %(prog)s --config my.yaml
  %(prog)s --config my.yaml --all
  %(prog)s --config my.yaml --json            (to standard output)
  %(prog)s --config my.yaml --json check.json
  %(prog)s --config my.yaml --set data.on_bad_row=drop
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add_config(parser)
    parser.add_argument("--all", action="store_true", help="show every finding and every tool, not the first few")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="PATH", help="write everything as JSON, to a file or standard output"
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Prepare the data, and print what is in it and what is wrong with it."""
    from trainer.config import load_config

    cfg = load_config(args.config, args.overrides)

    import json
    from pathlib import Path

    from trainer.checking.tables import summary_tables, verdict
    from trainer.util.files import replace_json
    from trainer.util.terminal import make_console

    summary = prepared_data(cfg).summary
    if args.json == "-":
        json.dump(summary.to_json(), sys.stdout, ensure_ascii=False, indent=2)
        print()
    else:
        if args.json is not None:
            replace_json(Path(args.json), summary.to_json())
        console = make_console()
        limit = cfg.data.max_context_length
        for part in summary_tables(summary, max_context_length=limit, show_all=args.all):
            console.print(part, highlight=False, soft_wrap=True)
        console.print(f"\n{verdict(summary)}", highlight=False)
    return 1 if summary.n_of("error") else 0


class PreparedData(NamedTuple):
    """Both splits, what they hold, and how they became tokens."""

    prepared: "Prepared"
    summary: "DataSummary"
    chat: "ChatSetup"


def prepared_data(cfg: "Config") -> PreparedData:
    """Prepare both splits, and count what they hold. Raises `ToolSftError` for what prevents that as a whole."""
    from trainer.data.domains import domain_rows, load_domain

    domain = load_domain(cfg)

    from trainer.checking.summary import summarize
    from trainer.data.chat_setup import make_chat_setup
    from trainer.data.prepare import prepare
    from trainer.guard.conversations import read_guard
    from trainer.model_config import check_embedding, check_ids, load_model_config

    read_guard(cfg)
    chat, name = make_chat_setup(cfg), cfg.model.base_model_name
    lacking = check_embedding(chat.tokenizer, load_model_config(cfg), name=name)
    prepared = prepare(cfg, domain_rows(domain, cfg), chat)
    for split in (prepared.train, prepared.evaluation):
        check_ids(split.rows(), lacking, name=name)
    return PreparedData(prepared, summarize(cfg, prepared), chat)
