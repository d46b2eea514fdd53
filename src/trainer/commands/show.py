"""Show data to people: one session in the terminal, or the whole dataset as a page.

In the terminal, tools and the proof take one line each; `tool-sft preview` shows every token. The page is one file
without a network: counts, lengths, findings, a list of sessions with search, and sessions with what is learned marked.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.util.cli import add_config, add_split, command_parser, positive

if TYPE_CHECKING:
    from trainer.config import Config

_EXAMPLES = """
examples:
  %(prog)s --config configs/car_sales/quickstart.yaml
  %(prog)s --config configs/car_sales/quickstart.yaml --session train-0007 --tools
  %(prog)s --config configs/car_sales/quickstart.yaml --html dataset.html
  %(prog)s --config my.yaml --html dataset.html --sessions 500 --session chat-17 --session chat-99

The page holds conversations: share it as you would share the data.
"""
_N_SESSIONS = 200


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add_config(parser)
    add_split(parser)
    add = parser.add_argument
    add("--session", action="append", default=[], metavar="ID", help="session to show; with --html: one of several")
    add("--row", type=int, metavar="N", help="session at this row, from 0 (default: 0)")
    add("--tools", action="store_true", help="show the tool schemas")
    add("--html", type=Path, metavar="PATH", help="write the page of the whole dataset")
    add("--sessions", type=positive, metavar="N", help=f"most sessions as tokens on the page (default: {_N_SESSIONS})")
    args = parser.parse_args(argv)
    if args.html and (args.row is not None or args.tools or args.split):
        parser.error("--row, --tools and --split are for the terminal; the page has both splits")
    if not args.html and args.sessions:
        parser.error("--sessions needs --html")
    if not args.html and len(args.session) + (args.row is not None) > 1:
        parser.error("the terminal shows one session: give one --session or --row")
    return args


def run(args: argparse.Namespace) -> int:
    """Print a session, or write the page."""
    from trainer.config import load_config
    from trainer.util.files import claim_file

    claim_file(args.html, option="--html")
    cfg = load_config(args.config, args.overrides)
    if args.html:
        return _write_page(args, cfg)

    from trainer.checking.session_screen import show_session
    from trainer.data.chat_setup import load_encoder
    from trainer.data.domains import find_session
    from trainer.util.terminal import make_console

    wanted = args.session[0] if args.session else None
    session = find_session(cfg, args.split or cfg.data.train_split, session_id=wanted, row=args.row or 0)
    show_session(make_console(), load_encoder(cfg).encoder, session, show_tools=args.tools)
    return 0


def _write_page(args: argparse.Namespace, cfg: "Config") -> int:
    from trainer.checking.dataset_cards import PageOptions
    from trainer.checking.dataset_view import dataset_view
    from trainer.commands.check import prepared_data
    from trainer.reports.dataset_page import dataset_page
    from trainer.reports.views import Fact
    from trainer.util.files import write_file

    data = prepared_data(cfg)
    facts = [
        Fact("domain", cfg.data.load_module),
        Fact("dataset", cfg.data.dataset_name or ", ".join(source.dataset_name for source in cfg.data.sources)),
        Fact("tokenizer", cfg.tokenizer_name),
        Fact("tool-call format", data.chat.fmt.name),
        Fact("longest row allowed", f"{cfg.data.max_context_length:,} tokens"),
    ]
    view = dataset_view(
        data.prepared,
        data.summary,
        data.chat.encoder,
        title=f"Dataset of {Path(args.config).stem}",
        facts=facts,
        limit=cfg.data.max_context_length,
        options=PageOptions(args.sessions or _N_SESSIONS, tuple(args.session)),
    )
    page = dataset_page(view)
    write_file(args.html, page, option="--html")
    size = len(page.encode()) / 1e6
    shown = f"{len(view.cards):,} of {view.n_sessions:,} sessions as tokens"
    print(f"Written: {args.html} ({size:.1f} MB; {len(view.lines):,} sessions listed, {shown})")
    if data.summary.n_of("error"):
        print(f"{data.summary.n_of('error'):,} errors in the data stop a training: see tool-sft check", file=sys.stderr)
    return 0
