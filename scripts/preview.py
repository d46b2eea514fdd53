"""Show one session as the model will be trained on it: every token, which of them carry loss, and the proof."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.util.cli import exit_code

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from trainer.chat import ChatEncoder, EncodedSession
    from trainer.config import Config
    from trainer.data.sessions import SessionReader
    from trainer.types import Session

_EXAMPLES = """
examples:
  python scripts/preview.py --config configs/car_sales/quickstart.yaml
  python scripts/preview.py --config configs/car_sales/qwen3-4b.yaml --session train-0007
  python scripts/preview.py --config configs/car_sales/quickstart.yaml --split test --row 3 | less

Supervised tokens are coloured in a terminal, and stand between ⟦ and ⟧ anywhere else.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, read one session, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, metavar="PATH", help="run configuration (YAML)")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="SECTION.KEY=VALUE", help="override one key"
    )
    parser.add_argument("--split", help="split of the dataset (default: data.train_split)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--session", metavar="ID", help="session to show")
    which.add_argument("--row", type=int, default=0, metavar="N", help="session at this row, from 0 (default: 0)")
    args = parser.parse_args(argv)
    with exit_code() as code:
        from trainer.config import load_config

        cfg = load_config(args.config, args.overrides)

        from rich.console import Console

        from trainer.chat import ChatEncoder
        from trainer.tokenizer import load_tokenizer

        encoder = ChatEncoder(load_tokenizer(cfg), template_kwargs=cfg.data.chat_template_kwargs)
        session = _find_session(cfg, args.split or cfg.data.train_split, session_id=args.session, row=args.row)
        _show(Console(), encoder, session)
    return code.value


def _find_session(cfg: "Config", split: str, *, session_id: str | None, row: int) -> "Session":
    """One session of a split. Raises `ConfigError` for a domain that cannot be read, `DataError` if it is not there."""
    from trainer.data.sources import load_split
    from trainer.errors import DataError

    reader, columns = _domain_reader(cfg)
    rows = load_split(cfg.data, split, columns=[reader.id_column, *columns])
    if session_id is not None:
        ids = list(rows[reader.id_column])
        if session_id not in ids:
            raise DataError(f"split {split} has no session {session_id!r}; its first ones: {', '.join(ids[:5])}")
        row = ids.index(session_id)
    if not 0 <= row < len(rows):
        raise DataError(f"split {split} has no row {row}; it has rows 0 to {len(rows) - 1}")
    return reader.read(rows[row])


def _domain_reader(cfg: "Config") -> tuple["SessionReader", Sequence[str]]:
    from trainer.data.sessions import SessionReader
    from trainer.data.sources import read_text
    from trainer.errors import ConfigError
    from trainer.tools import read_tools

    name = f"{cfg.data.load_module}.data_prep"
    try:
        module: Any = importlib.import_module(name)
        to_messages, columns = module.session_to_messages, module.COLUMNS
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(f"{name} must define session_to_messages and COLUMNS to be previewed: {error}") from error
    sysprompt = read_text(cfg.data.sysprompt_path, key="data.sysprompt_path")
    tools = read_tools(cfg.data.tools_path)
    return SessionReader(to_messages, "session_id", sysprompt, cfg.data.timezone, tools), columns


def _show(console: "Console", encoder: "ChatEncoder", session: "Session") -> None:
    if console.is_terminal:
        console.print(encoder.profile.table())
    else:
        print(encoder.profile.plain())
    encoded = encoder.encode(session.messages, session.tools, session_id=session.session_id)
    console.print(_summary(encoded), highlight=False)
    for turn, token in encoded.literal_specials:
        console.print(f"turn {turn} holds the special token {token} as text; a server reads it as special, too")
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

    for span, verdict in zip(row.spans, verify_row(encoder, session.messages, session.tools, row), strict=True):
        prompt = "equals" if verdict.prompt_is_exact else "DIFFERS FROM"
        text = "spells the turn" if verdict.text_is_exact else "is the turn as the tokenizer changes it"
        console.print(
            f"turn {span.turn}: tokens {span.start} to {span.end - 1} ({span.end - span.start}): "
            f"the prompt {prompt} the serving prompt, the span {text}",
            highlight=False,
            soft_wrap=True,
        )


if __name__ == "__main__":
    sys.exit(main())
