"""Rows of tokens as messages: every token is in one block, and a block has its message, with any template."""

from typing import Any

import pytest

from tests.support.template_cases import OWN, encoder_of
from trainer.chat import ChatEncoder, EncodedRow
from trainer.chat.blocks import Block, BlockSplitter
from trainer.chat.tokens.token_texts import TokenTexts
from trainer.types import Message, Session

FIND: dict[str, Any] = {
    "type": "function",
    "function": {"name": "find", "description": "Finds a red car.", "parameters": {"type": "object", "properties": {}}},
}
CALL: Any = {"type": "function", "function": {"name": "find", "arguments": {"price": 12}}}
# The contents are also words of the templates, and parts of each other.
MESSAGES: list[Message] = [
    {"role": "system", "content": "You are a car tool: user, assistant."},
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": '{"price": 12}', "tool_call_id": "call_1"},
    {"role": "assistant", "content": "It costs 12. 😀"},
    {"role": "user", "content": "user"},
    {"role": "assistant", "content": "Not trained.", "train": False},
    {"role": "user", "content": "the red car"},
    {"role": "assistant", "content": "yes."},
]
CASES = (OWN, "qwen3_instruct_2507", "qwen3", "llama3_2", "glm4moe", "gemma4")


def encoded(encoder: ChatEncoder, *, tools: tuple[Any, ...] = (FIND,)) -> tuple[Session, tuple[EncodedRow, ...]]:
    messages: Any = [dict(message) for message in MESSAGES]
    messages[2]["tool_calls"] = [{"id": "call_1", **CALL}]
    session = Session("s", tuple(messages), tools)
    return session, encoder.encode(session.messages, session.tools, session_id="s").rows


def text_of(block: Block) -> str:
    return "".join(part.text for part in block.parts)


@pytest.mark.parametrize("kind", ["smollm2", "byte_level", "metaspace"])
@pytest.mark.parametrize("name", CASES)
def test_all_tokens_are_in_blocks_and_those_to_learn_are_marked(name: str, kind: str) -> None:
    encoder = encoder_of(name, kind)
    session, rows = encoded(encoder)
    for row in rows:
        blocks = BlockSplitter(encoder).blocks(session, row)
        assert sum(block.n_tokens for block in blocks) == len(row.input_ids)
        learned = [(block.turn, block.n_supervised) for block in blocks if block.n_supervised]
        assert learned == [(span.turn, span.end - span.start) for span in row.spans]
        texts = [part.text for block in blocks for part in block.parts if part.is_supervised]
        assert texts == [encoder.decode(row.input_ids[span.start : span.end]) for span in row.spans]
        assert "".join(map(text_of, blocks)) == encoder.decode(row.input_ids)


@pytest.mark.parametrize("name", CASES)
def test_a_block_has_the_message_of_its_turn_and_the_tools_are_apart(name: str) -> None:
    encoder = encoder_of(name, "smollm2")
    session, rows = encoded(encoder)
    blocks = BlockSplitter(encoder).blocks(session, rows[-1])
    assert [block.turn for block in blocks if block.turn is not None] == sorted(
        block.turn for block in blocks if block.turn is not None
    )
    for block in blocks:
        if block.turn is not None:
            assert block.kind == session.messages[block.turn]["role"]
    found = {block.turn: text_of(block) for block in blocks if block.turn is not None}
    assert {1, 3, 5, 6, 7, 8} <= set(found)
    for turn in (3, 6, 7, 8):
        assert (session.messages[turn].get("content") or "") in found[turn]
    assert "Not trained." not in found[7]
    (tools,) = [block for block in blocks if block.kind == "tools"]
    assert "Finds a red car." in text_of(tools)
    assert not [turn for turn, text in found.items() if "Finds a red car." in text]
    assert "You are a car tool" not in text_of(tools)


def test_a_session_without_tools_or_system_prompt_has_neither_block() -> None:
    encoder = encoder_of(OWN, "smollm2")
    messages: Any = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    session = Session("s", tuple(messages), ())
    (row,) = encoder.encode(session.messages, (), session_id="s").rows
    assert [(block.kind, block.turn) for block in BlockSplitter(encoder).blocks(session, row)] == [
        ("user", 0), ("assistant", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["smollm2", "byte_level", "metaspace"])
def test_pieces_are_texts_and_a_character_of_several_tokens_is_one_piece(kind: str) -> None:
    encoder = encoder_of(OWN, kind)
    text = "find the red car 😀😀 à la carte\u202e\x00"
    ids = encoder.render([{"role": "user", "content": text}], (), add_generation_prompt=False)
    tokens = encoder.prompt_ids([{"role": "user", "content": text}], ())
    pieces = TokenTexts(encoder.decode).pieces(tokens, 0, len(tokens))
    assert sum(piece.n_tokens for piece in pieces) == len(tokens)
    assert "".join(piece.text for piece in pieces) == encoder.decode(tokens)
    assert ids in encoder.decode(tokens) or kind == "metaspace"
    assert not [piece for piece in pieces if "\ufffd" in piece.text and kind != "metaspace"]
