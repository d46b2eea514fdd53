"""Calls in the text and those that the server handed over are one answer, and only a lost call is format loss."""

import json
from itertools import product

import pytest

from tests.support.stub_server import wire_call
from trainer.endpoint import Answer
from trainer.server_eval.readings import Reading, format_loss, read_twice
from trainer.tool_calls import formats, get_format
from trainer.types import Call, EvalTurn, FinishReason, Tool

HERMES = get_format("hermes")
ONE, TWO, THREE = Call("search", {"make": "Škoda"}), Call("search", {"make": "Kia"}), Call("book", {"day": 3})


def tool(name: str, **properties: str) -> Tool:
    schema = {"type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()}}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": schema}}


TURN = EvalTurn(
    "s",
    1,
    ({"role": "user", "content": "hi"},),
    (tool("search", make="string"), tool("book", day="integer")),
    "",
    (ONE,),
)


def wire(*calls: Call) -> list[object]:
    return [wire_call(call.name, json.dumps(call.arguments), index=i) for i, call in enumerate(calls)]


def read(content: str, *handed_over: Call, ending: FinishReason = "stop", fmt: str = "hermes") -> Reading:
    return read_twice(TURN, Answer(content, wire(*handed_over) or None, ending), get_format(fmt))


def names(reading: Reading) -> list[tuple[str | None, object]]:
    return [(call.name, call.arguments) for call in reading.lenient.calls]


def n_lost(*readings: Reading) -> tuple[int, int]:
    loss = format_loss(readings, HERMES)
    return loss.n_lost, loss.n_calling


@pytest.mark.parametrize("fmt", formats())
def test_whatever_part_the_server_hands_over_the_lenient_reading_has_every_call_once(fmt: str) -> None:
    calls = [ONE, TWO, THREE]
    for handed_over in product([False, True], repeat=3):
        left = [call for call, is_there in zip(calls, handed_over, strict=True) if not is_there]
        passed = [call for call, is_there in zip(calls, handed_over, strict=True) if is_there]
        reading = read(get_format(fmt).render(left) if left else "", *passed, fmt=fmt)
        assert names(reading) == [(call.name, call.arguments) for call in [*left, *passed]]
        assert reading.n_lost_calls == len(left)
        assert all(call.raw == reading.lenient.text[call.start : call.end] for call in reading.lenient.calls)


def test_a_call_that_the_server_hands_over_and_also_leaves_in_the_text_counts_once() -> None:
    reading = read(HERMES.render([ONE, TWO]), ONE, TWO)
    assert names(reading) == [(call.name, call.arguments) for call in (ONE, TWO)]
    assert n_lost(reading) == (0, 1)


def test_two_equal_calls_of_which_the_server_handed_over_one_stay_two() -> None:
    reading = read(HERMES.render([ONE, ONE]), ONE)
    assert len(reading.lenient.calls) == 2
    assert n_lost(reading) == (1, 1)


def test_only_a_call_that_reads_well_and_was_not_handed_over_is_lost() -> None:
    text = HERMES.render([ONE])
    assert n_lost(read(text)) == (1, 1)
    assert n_lost(read("Hello")) == (0, 0)
    assert n_lost(read("", ONE)) == (0, 1)
    assert n_lost(read(text, TWO)) == (1, 1)
    assert n_lost(read(text), read("", ONE), read("Hello")) == (1, 2)


def test_a_malformed_attempt_is_the_model_s_and_stays_an_attempt() -> None:
    broken = '<tool_call>\n{"name": "search", "arguments": {"make" "Kia"}}\n</tool_call>'
    for handed_over in ((), (ONE,)):
        reading = read(broken, *handed_over)
        assert [call.status for call in reading.lenient.calls] == ["invalid_json", *("ok" for _ in handed_over)]
        assert n_lost(reading) == (0, len(handed_over))
        assert len(reading.strict.calls) == len(handed_over)


def test_a_call_that_the_token_limit_cut_is_no_format_loss() -> None:
    text = HERMES.render([ONE])
    for end in range(len("<tool_call>") + 1, len(text) - len("</tool_call>")):
        reading = read(text[:end], ending="length")
        assert [call.status for call in reading.lenient.calls] == ["truncated"]
        assert n_lost(reading) == (0, 0)


def test_drafts_in_the_reasoning_are_no_calls() -> None:
    reading = read(f"<think>{HERMES.render([TWO])}</think>Done.", ONE)
    assert names(reading) == [(ONE.name, ONE.arguments)]
    assert reading.lenient.content == "Done."


def test_a_large_loss_names_the_remedy_and_a_small_one_nothing() -> None:
    lost, fine = read(HERMES.render([ONE])), read("", ONE)
    advice = format_loss([lost, fine], HERMES).advice()
    assert advice is not None
    assert "in 1 of 2 answers" in advice
    assert "tool-sft serve" in advice
    assert "--tool-call-parser hermes" in advice
    assert format_loss([lost] + [fine] * 99, HERMES).advice() is None
    assert format_loss([read("Hello")], HERMES).advice() is None
    assert format_loss([], HERMES).to_json() == {"n_lost": 0, "n_calling": 0, "vllm_parser": "hermes", "share": None}
