"""Show one session as the model will be trained on it: every token, which of them carry loss, and the proof."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.util.cli import add_config, command_parser

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from trainer.chat import ChatEncoder, EncodedSession
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
    parser.add_argument("--split", help="split of the dataset (default: data.train_split)")
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
    if console.is_terminal:
        console.print(encoder.profile.table())
    else:
        print(encoder.profile.plain())
    encoded = encoder.encode(session.messages, session.tools, session_id=session.session_id, day=session.day)
    console.print(_summary(encoded), highlight=False)
    for turn, token in encoded.literal_specials:
        console.print(f"turn {turn} has the special token {token} as text; a server also reads it as special")
    for number, row in enumerate(encoded.rows, start=1):
        console.rule(f"row {number} of {len(encoded.rows)}: {len(row.input_ids)} tokens")
        text = _row_text(encoder, row.input_ids, row.spans, marked=not console.is_terminal)
        console.print(text, soft_wrap=True, highlight=False)
        console.rule("proof")
        _show_proof(console, encoder, session, row)


def _summary(encoded: "EncodedSession") -> str:
    tokens = sum(len(row.input_ids) for row in encoded.rows)
    supervised = sum(span.end - span.start for row in encoded.rows for span in row.spans)
    extra = f", {encoded.extra_tokens} of them because history is rewritten" if encoded.extra_tokens else ""
    return (
        f"session {encoded.session_id}: {len(encoded.rows)} row(s), {tokens} tokens{extra}, {supervised} supervised "
        f"({supervised / max(tokens, 1):.0%})"
    )


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

    checks = verify_row(encoder, session.messages, session.tools, row, day=session.day)
    for span, check in zip(row.spans, checks, strict=True):
        prompt = "equals" if check.prompt_is_exact else "DIFFERS FROM"
        text = "spells the turn" if check.text_is_exact else "DIFFERS FROM the turn"
        if not check.text_is_exact and encoder.changes(check.target):
            text = "is the turn as the tokenizer changes it"
        console.print(
            f"turn {span.turn}: tokens {span.start} to {span.end - 1} ({span.end - span.start}): "
            f"the prompt {prompt} the serving prompt, the span {text}",
            highlight=False,
            soft_wrap=True,
        )
