"""Tokens of prompt and target where the text as a whole runs across the boundary, and what is told apart there."""

from typing import Any

import pytest

from tests.support.chat import tokenizer_for
from trainer.chat.proof import Tokens
from trainer.chat.tokenized_text import TokenizedText, literal_tokens
from trainer.chat.turn_texts import TurnText
from trainer.errors import TemplateError

TEMPLATE = "<|start|><|end|>"


def tokens(kind: str) -> Tokens:
    tokenizer: Any = tokenizer_for(TEMPLATE, kind)
    return Tokens(tokenizer)


def turn(made: Tokens, prompt: str, target: str) -> TurnText:
    (stop_id,) = made.ids("<|end|>")
    return TurnText(1, prompt + target, len(prompt), len(prompt + target), "<|end|>", stop_id)


@pytest.mark.parametrize("kind", ["smollm2", "byte_level", "metaspace"])
def test_a_word_that_the_boundary_cuts_is_written_in_two_parts(kind: str) -> None:
    made = tokens(kind)
    cut = turn(made, "<|start|>fi", "nd<|end|>")
    (row,) = made.batch([cut.text])
    assert made.prove(cut, row) is None
    prompt, target, n_shared = made.apart(cut, row)
    assert prompt == made.ids("<|start|>fi")
    assert n_shared == 0
    assert made.decode(target) == "nd<|end|>"
    assert made.decode(prompt + target) == "<|start|>find<|end|>"


@pytest.mark.parametrize("kind", ["smollm2", "byte_level", "metaspace"])
def test_a_boundary_between_tokens_is_proven_in_place(kind: str) -> None:
    made = tokens(kind)
    clean = turn(made, "<|start|>find", " a car<|end|>")
    (row,) = made.batch([clean.text + "<|start|>more"])
    span = made.prove(clean, row)
    assert span is not None
    assert row.ids[: span.start] == made.ids("<|start|>find")
    assert made.apart(clean, row)[:2] == (row.ids[: span.start], row.ids[span.start : span.end])


def test_a_prompt_without_any_special_token_is_tokenized_in_full() -> None:
    made = tokens("byte_level")
    plain = turn(made, "find", " a car<|end|>")
    (row,) = made.batch([plain.text])
    assert made.prove(plain, row) is None
    assert made.apart(plain, row).prompt == made.ids("find")


def test_a_special_token_far_before_the_end_of_the_prompt_is_found() -> None:
    made = tokens("byte_level")
    far = turn(made, "<|start|>" + "find a car. " * 60 + "Well?", " yes<|end|>")
    (row,) = made.batch([far.text])
    span = made.prove(far, row)
    assert span is not None
    assert row.ids[: span.start] == made.ids(far.prompt)


def test_a_target_that_does_not_end_with_the_stop_token_is_refused() -> None:
    made = tokens("byte_level")
    wrong = TurnText(3, "<|start|>a b", 10, 12, "<|end|>", -1)
    with pytest.raises(TemplateError, match="turn 3: the tokenizer cannot write this turn"):
        made.apart(wrong, made.batch([wrong.text])[0])


def test_places_are_known_only_where_text_and_tokens_agree() -> None:
    assert TokenizedText("a<x>b<x>", [7, 1, 8, 1], is_split=True).places("<x>", 1) == {1: 1, 5: 3}
    assert TokenizedText("a<x>b<x>", [7, 1, 8, 9], is_split=True).places("<x>", 1) == {}
    assert TokenizedText("a<x>b<x>", [7, 1, 8, 1], is_split=False).places("<x>", 1) == {}


def test_what_an_earlier_call_has_set_on_the_tokenizer_changes_nothing() -> None:
    made = tokens("byte_level")
    before = [row.ids for row in made.batch(["a", "a b c d"])]
    made.tokenizer(["a", "a b c d"], padding=True, truncation=True, max_length=2)
    assert [row.ids for row in made.batch(["a", "a b c d"])] == before == [made.ids("a"), made.ids("a b c d")]


def test_literal_tokens_are_found_with_the_text_that_holds_them() -> None:
    special = ("<|end|>", "<|start|>")
    assert literal_tokens(["a", "<|end|> <|start|>", "<|", "end|>"], special) == ((1, "<|end|>"), (1, "<|start|>"))
