"""The proof of spans, and the tokens of prompt and target if a token of the whole text crosses their boundary."""

from typing import Any

import pytest

from tests.support.chat import tokenizer_for
from trainer.chat.proof import SpanProver
from trainer.chat.tokens.tokenized_text import TokenizedText, literal_tokens
from trainer.chat.turn_texts import TurnText
from trainer.errors import TemplateError

TEMPLATE = "<|start|><|end|>"


def prover(kind: str) -> SpanProver:
    tokenizer: Any = tokenizer_for(TEMPLATE, kind)
    return SpanProver(tokenizer)


def turn(made: SpanProver, prompt: str, target: str) -> TurnText:
    (stop_id,) = made.ids("<|end|>")
    return TurnText(1, prompt + target, len(prompt), len(prompt + target), "<|end|>", stop_id)


@pytest.mark.parametrize("kind", ["smollm2", "byte_level", "metaspace"])
def test_a_word_across_the_boundary_is_tokenized_in_two_parts(kind: str) -> None:
    made = prover(kind)
    cut = turn(made, "<|start|>fi", "nd<|end|>")
    (row,) = made.batch([cut.text])
    assert made.prove(cut, row) is None
    prompt, target, n_shared = made.tokenize_apart(cut, row)
    assert prompt == made.ids("<|start|>fi")
    assert n_shared == 0
    assert made.decode(target) == "nd<|end|>"
    assert made.decode(prompt + target) == "<|start|>find<|end|>"


@pytest.mark.parametrize("kind", ["smollm2", "byte_level", "metaspace"])
def test_a_boundary_between_tokens_is_proven_in_place(kind: str) -> None:
    made = prover(kind)
    clean = turn(made, "<|start|>find", " a car<|end|>")
    (row,) = made.batch([clean.text + "<|start|>more"])
    span = made.prove(clean, row)
    assert span is not None
    assert row.ids[: span.start] == made.ids("<|start|>find")
    assert made.tokenize_apart(clean, row)[:2] == (row.ids[: span.start], row.ids[span.start : span.end])


def test_a_prompt_without_any_special_token_is_tokenized_in_full() -> None:
    made = prover("byte_level")
    plain = turn(made, "find", " a car<|end|>")
    (row,) = made.batch([plain.text])
    assert made.prove(plain, row) is None
    assert made.tokenize_apart(plain, row).prompt == made.ids("find")


def test_a_special_token_far_before_the_end_of_the_prompt_is_found() -> None:
    made = prover("byte_level")
    far = turn(made, "<|start|>" + "find a car. " * 60 + "Well?", " yes<|end|>")
    (row,) = made.batch([far.text])
    span = made.prove(far, row)
    assert span is not None
    assert row.ids[: span.start] == made.ids(far.prompt)


def test_a_target_that_does_not_end_with_the_stop_token_is_refused() -> None:
    made = prover("byte_level")
    wrong = TurnText(3, "<|start|>a b", 10, 12, "<|end|>", -1)
    with pytest.raises(TemplateError, match="turn 3: the tokenizer cannot write this turn"):
        made.tokenize_apart(wrong, made.batch([wrong.text])[0])


def test_token_indices_are_known_only_if_text_and_tokens_agree() -> None:
    assert TokenizedText("a<x>b<x>", [7, 1, 8, 1], is_split=True).index_by_position("<x>", 1) == {1: 1, 5: 3}
    assert TokenizedText("a<x>b<x>", [7, 1, 8, 9], is_split=True).index_by_position("<x>", 1) == {}
    assert TokenizedText("a<x>b<x>", [7, 1, 8, 1], is_split=False).index_by_position("<x>", 1) == {}


def test_padding_and_truncation_of_an_earlier_call_change_nothing() -> None:
    made = prover("byte_level")
    before = [row.ids for row in made.batch(["a", "a b c d"])]
    made.tokenizer(["a", "a b c d"], padding=True, truncation=True, max_length=2)
    assert [row.ids for row in made.batch(["a", "a b c d"])] == before == [made.ids("a"), made.ids("a b c d")]


def test_literal_tokens_are_found_with_the_text_that_contains_them() -> None:
    special = ("<|end|>", "<|start|>")
    assert literal_tokens(["a", "<|end|> <|start|>", "<|", "end|>"], special) == ((1, "<|end|>"), (1, "<|start|>"))
