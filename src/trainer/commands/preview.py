"""Show one session as the model will be trained on it: every token, which of them carry loss, and the proof.

`tool-sft show` is the shorter view for people, and a page of the whole dataset.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.util.cli import add_config, add_split, command_parser

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from trainer.chat import ChatEncoder
    from trainer.types import Session

_EXAMPLES = """
examples:
  %(prog)s --config configs/car_sales/quickstart.yaml
  %(prog)s --config configs/car_sales/qwen3-4b.yaml --session train-0007
  %(prog)s --config configs/car_sales/quickstart.yaml --split test --row 3 | less

Supervised tokens are coloured in a terminal, and between ⟦ and ⟧ anywhere else.
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add_config(parser)
    add_split(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--session", metavar="ID", help="session to show")
    which.add_argument("--row", type=int, default=0, metavar="N", help="session at this row, from 0 (default: 0)")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Read one session and print it."""
    from trainer.config import load_config

    cfg = load_config(args.config, args.overrides)

    from trainer.data.chat_setup import load_encoder
    from trainer.data.domains import find_session
    from trainer.util.terminal import make_console

    session = find_session(cfg, args.split or cfg.data.train_split, session_id=args.session, row=args.row)
    _show(make_console(), load_encoder(cfg).encoder, session)
    return 0


def _show(console: "Console", encoder: "ChatEncoder", session: "Session") -> None:
    from trainer.checking.session_screen import literal_lines, summary_line

    if console.is_terminal:
        console.print(encoder.profile.table())
    else:
        print(encoder.profile.plain())
    encoded = encoder.encode(session.messages, session.tools, session_id=session.session_id, day=session.day)
    console.print(summary_line(encoded), highlight=False)
    for line in literal_lines(encoded):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for number, row in enumerate(encoded.rows, start=1):
        console.rule(f"row {number} of {len(encoded.rows)}: {len(row.input_ids)} tokens")
        text = _row_text(encoder, row.input_ids, row.spans, marked=not console.is_terminal)
        console.print(text, soft_wrap=True, highlight=False)
        console.rule("proof")
        _show_proof(console, encoder, session, row)


def _row_text(encoder: "ChatEncoder", ids: list[int], spans: Sequence[Any], *, marked: bool) -> "Text":
    from rich.text import Text

    text, end = Text(), 0
    for span in spans:
        text.append(encoder.decode(ids[end : span.start]), style="dim")
        supervised = encoder.decode(ids[span.start : span.end])
        text.append(f"⟦{supervised}⟧" if marked else supervised, style="bold green")
        end = span.end
    return text


def _show_proof(console: "Console", encoder: "ChatEncoder", session: "Session", row: Any) -> None:
    from trainer.chat.verify import verify_row
    from trainer.checking.session_screen import proof_line

    checks = verify_row(encoder, session.messages, session.tools, row, day=session.day)
    for span, check in zip(row.spans, checks, strict=True):
        console.print(proof_line(encoder, span, check), highlight=False, soft_wrap=True)
