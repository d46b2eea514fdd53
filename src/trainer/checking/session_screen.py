"""Show one session to people: message by message, with the tokens that carry loss, tools and proof in one line each.

`tool-sft preview` shows every token instead.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from trainer.chat.blocks import Block, BlockSplitter
from trainer.chat.verify import SpanCheck, verify_row
from trainer.reports.text import plain

if TYPE_CHECKING:
    from trainer.chat import ChatEncoder, EncodedRow, EncodedSession, Span
    from trainer.types import Session


def summary_line(encoded: "EncodedSession") -> str:
    """Return the size of a session: rows, tokens, and how many of them carry loss."""
    tokens = sum(len(row.input_ids) for row in encoded.rows)
    supervised = sum(span.end - span.start for row in encoded.rows for span in row.spans)
    extra = f", {encoded.extra_tokens} of them because history is rewritten" if encoded.extra_tokens else ""
    return (
        f"session {encoded.session_id}: {len(encoded.rows)} row(s), {tokens} tokens{extra}, {supervised} supervised "
        f"({supervised / max(tokens, 1):.0%})"
    )


def proof_line(encoder: "ChatEncoder", span: "Span", check: SpanCheck) -> str:
    """Return whether a span directly follows its serving prompt and spells its turn."""
    prompt = "equals" if check.prompt_is_exact else "DIFFERS FROM"
    text = "spells the turn" if check.text_is_exact else "DIFFERS FROM the turn"
    if not check.text_is_exact and encoder.changes(check.target):
        text = "is the turn as the tokenizer changes it"
    return (
        f"turn {span.turn}: tokens {span.start} to {span.end - 1} ({span.end - span.start}): "
        f"the prompt {prompt} the serving prompt, the span {text}"
    )


def literal_lines(encoded: "EncodedSession") -> list[str]:
    """Return one line for each special token that is in the text of a message."""
    return [
        f"turn {turn} has the special token {token} as text; a server also reads it as special"
        for turn, token in encoded.literal_specials
    ]


def show_session(console: Console, encoder: "ChatEncoder", session: "Session", *, show_tools: bool) -> None:
    """Print a session: every message with its tokens. Outside a terminal, ⟦ and ⟧ are around what carries loss."""
    encoded = encoder.encode(session.messages, session.tools, session_id=session.session_id, day=session.day)
    splitter = BlockSplitter(encoder)

    def write(text: Text | str = "") -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False, emoji=False)

    write(Text(plain(summary_line(encoded)), "bold"))
    for line in literal_lines(encoded):
        write(Text(plain(line), "yellow"))
    for number, row in enumerate(encoded.rows, start=1):
        if len(encoded.rows) > 1:
            write(Text(f"\nrow {number} of {len(encoded.rows)}: {len(row.input_ids):,} tokens", "bold"))
        blocks = splitter.blocks(session, row)
        for text in _texts(blocks, session, is_later=number > 1, show_tools=show_tools, marked=not console.is_terminal):
            write(text)
        for proof in _proof(encoder, session, row):
            write(proof)


def _texts(
    blocks: Sequence[Block], session: "Session", *, is_later: bool, show_tools: bool, marked: bool
) -> Iterator[Text]:
    if is_later:  # the earlier rows show the same messages
        first = next(index for index, block in enumerate(blocks) if block.n_supervised)
        n_tokens = sum(block.n_tokens for block in blocks[:first])
        yield Text(f"\nhistory as the template rewrites it: {n_tokens:,} tokens", "dim")
        blocks = blocks[first:]
    for block in blocks:
        yield from _block(block, session, show_tools=show_tools, marked=marked)


def _block(block: Block, session: "Session", *, show_tools: bool, marked: bool) -> Iterator[Text]:
    if block.kind == "tools":
        n = len(session.tools)
        tools = f"{n} tool{'' if n == 1 else 's'}, {block.n_tokens:,} tokens"
        yield Text(f"\n{tools}" if show_tools else f"\n{tools}: --tools shows them", "bold cyan")
        if not show_tools:
            return
    else:
        yield block_title(block)
    for part in block.parts:
        text = plain(part.text).strip("\n")
        if part.is_supervised:
            yield Text(f"⟦{text}⟧" if marked else text, "green")
        elif block.kind != "assistant" or not block.n_supervised:
            yield Text(text, "dim")


def block_title(block: Block) -> Text:
    """Return who speaks, and how many tokens there are."""
    title = Text(f"\n{block.kind}", "bold green" if block.n_supervised else "bold")
    if block.n_supervised:
        return title + Text(f"  {block.n_supervised:,} tokens to learn", "green")
    note = ", context only" if block.kind == "assistant" else ""
    return title + Text(f"  {block.n_tokens:,} tokens{note}", "dim")


def _proof(encoder: "ChatEncoder", session: "Session", row: "EncodedRow") -> Iterator[Text]:
    checks = verify_row(encoder, session.messages, session.tools, row, day=session.day)
    pairs = list(zip(row.spans, checks, strict=True))
    odd = [(span, check) for span, check in pairs if not (check.prompt_is_exact and check.text_is_exact)]
    n = len(pairs)
    if not odd:
        whole = (
            "the span equals its turn after its serving prompt"
            if n == 1
            else f"all {n} spans equal the serving prompts"
        )
        yield Text(f"\nproof: {whole}", "bold")
        return
    yield Text(f"\nproof: {n - len(odd)} of {n} spans equal the serving prompts; the others:", "bold yellow")
    for span, check in odd:
        yield Text(plain(proof_line(encoder, span, check)))
