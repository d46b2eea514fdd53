"""An answer in pieces gives the same prose and calls as the whole answer, and its prose early."""

import os
import random
import time
from collections.abc import Iterator

import pytest

from tests.tool_calls.test_fuzz import CALLS, FRAGMENTS, MALICIOUS, PROSE, mutations
from trainer.tool_calls import ToolCallFormat, formats, get_format
from trainer.tool_calls.streaming import AnswerStream
from trainer.types import ParsedText

# The full run has 300 per format: STREAMED_TEXTS=300 pytest tests/tool_calls/test_streaming.py
N_TEXTS = int(os.environ.get("STREAMED_TEXTS", "12"))
CLOSED_BLOCKS = ("</think>", "[/THINK]", "<channel|>")  # what closes a block that nothing opened changes earlier prose
ANSWER = "The Audi costs 24,900, and the Fiat < 9,000.\n\nShall I book a test drive"


def streamed(fmt: ToolCallFormat, pieces: Iterator[str]) -> tuple[str, ParsedText]:
    """Return the prose that came before the end, and the result: all prose and the calls."""
    stream = AnswerStream(fmt)
    early = "".join(stream.feed(piece) for piece in pieces)
    rest = stream.finish()
    return early, ParsedText(early + rest.content, rest.calls)


def cut(text: str, size: int) -> Iterator[str]:
    """Yield pieces of `size` characters, of random sizes for 0."""
    rng, start = random.Random(len(text)), 0
    while start < len(text):
        end = start + (size or rng.randint(1, 40))
        yield text[start:end]
        start = end


@pytest.mark.parametrize("name", formats())
def test_pieces_of_any_size_give_what_the_whole_text_gives(name: str) -> None:
    fmt = get_format(name)
    written = fmt.render(CALLS)
    seeds = (written, f"Sure.\n{written}", fmt.render(CALLS[:1]), f"<think>hm</think>Well.\n{written}", *PROSE)
    texts = [*seeds, *mutations(seeds, FRAGMENTS, N_TEXTS)]
    n_other_prose = 0
    for text in texts:
        wanted = fmt.parse(text)
        for size in (1, 3, 7, 0):
            _, found = streamed(fmt, cut(text, size))
            assert found.calls == wanted.calls, text
            is_closed = any(closing in text for closing in CLOSED_BLOCKS)
            n_other_prose += found.content != wanted.content and not is_closed
    assert n_other_prose <= len(texts) // 100  # prose that begins as the call before it, in damaged text


@pytest.mark.parametrize("name", sorted(set(formats()) - {"openai"}))
def test_prose_comes_as_it_is_written(name: str) -> None:
    stream = AnswerStream(get_format(name))
    shown = ""
    for end, character in enumerate(ANSWER, start=1):
        shown += stream.feed(character)
        assert len(shown) >= len(ANSWER[:end].strip()) - 8  # such as "func", which may become "functools["
    assert stream.finish() == ParsedText(ANSWER[len(shown) :], ())


@pytest.mark.parametrize("name", sorted(set(formats()) - {"openai"}))
def test_prose_after_reasoning_comes_as_it_is_written(name: str) -> None:
    early, _ = streamed(get_format(name), cut(f"<think>Is {{a}} < [b]? Yes.</think>\n\n{ANSWER}", 1))
    assert early.startswith(ANSWER[:-8])


@pytest.mark.parametrize("block", ["<think>a < b</think>", "[THINK]a [b][/THINK]", "<|channel>thought\na<channel|>"])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_reasoning_at_the_beginning_is_no_prose(block: str, size: int) -> None:
    for name in set(formats()) - {"openai"}:
        _, found = streamed(get_format(name), cut(f"{block}Hello.", size))
        assert found == ParsedText("Hello.", ())


def test_a_call_and_the_text_after_it_come_at_the_end() -> None:
    text = 'Sure.\n<tool_call>{"name": "f", "arguments": {}}</tool_call>\nDone.'
    early, found = streamed(get_format("hermes"), cut(text, 1))
    assert early == "Sure."
    assert found.content == "Sure.\nDone."
    assert [call.name for call in found.calls] == ["f"]


def test_a_closing_tag_that_nothing_opened_loses_no_text() -> None:
    text = "Let me think.</think>Yes."
    early, found = streamed(get_format("hermes"), cut(text, 1))
    assert early == "Let me think."
    assert found.content == "Let me think.\nYes."
    assert get_format("hermes").parse(text).content == "Yes."


def test_an_unclosed_call_is_kept_and_known_to_be_cut() -> None:
    stream = AnswerStream(get_format("hermes"))
    assert stream.feed('Sure. <tool_call>{"name": "f"') == "Sure."
    (call,) = stream.finish(finished=False).calls
    assert call.status == "truncated"


def test_white_space_at_the_ends_is_no_prose() -> None:
    assert streamed(get_format("hermes"), cut("\n\n Yes.\n  No. \n", 1)) == (
        "Yes.\n  No.",
        ParsedText("Yes.\n  No.", ()),
    )


@pytest.mark.parametrize("name", formats())
def test_time_grows_about_linearly(name: str) -> None:
    """A quadratic stream would take sixteen times as long for four times the text."""
    fmt = get_format(name)
    for unit in MALICIOUS if "STREAMED_TEXTS" in os.environ else MALICIOUS[::5]:
        small, large = (seconds(fmt, unit * (n // len(unit))) for n in (1_000, 4_000))
        assert large < 8 * small + 0.05, f"{unit!r}: {small:.4f} s, then {large:.4f} s"


def seconds(fmt: ToolCallFormat, text: str) -> float:
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        streamed(fmt, cut(text, 3))
        best = min(best, time.perf_counter() - start)
    return best
