"""Hostile and randomly damaged rows give a conversation or a DataError, in time linear in their size."""

import contextlib
import copy
import json
import pickle
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.layouts.samples import SAMPLES
from trainer.chat import canonical_messages
from trainer.errors import DataError
from trainer.layouts import detect_layout, get_layout
from trainer.messages import Conversation
from trainer.values.json_reader import load_json

SCALARS = st.none() | st.booleans() | st.integers(-3, 10**40) | st.floats() | st.text(max_size=8)
JUNK = st.recursive(
    SCALARS | st.sampled_from(["[{", "<tool_call>", "<tools>", "[f(", "role", "user", "{}", "null", "<think>"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container inside a value, with every key or index of it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from places(inner)


@st.composite
def mutated_rows(draw: st.DrawFn) -> tuple[str, Any]:
    name = draw(st.sampled_from(list(SAMPLES)))
    row = copy.deepcopy(draw(st.sampled_from(SAMPLES[name].rows)))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(row))
        if not found:
            break
        container, key = found[draw(st.integers(0, len(found) - 1))]
        kind = draw(st.sampled_from(["replace", "delete", "repeat", "cut", "add"]))
        if kind == "delete":
            del container[key]
        elif kind == "repeat" and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        elif kind == "cut" and isinstance(container[key], str):
            container[key] = container[key][: draw(st.integers(0, len(container[key])))]
        elif kind == "add" and isinstance(container, dict):
            container[draw(st.text(max_size=6))] = draw(JUNK)
        else:
            container[key] = draw(JUNK)
    return name, row


def read(name: str, row: Any) -> Conversation | DataError:
    """What reading a row comes to; anything but these two fails the test."""
    try:
        return get_layout(name).read(row)
    except DataError as error:
        return error


def is_short(found: Conversation | DataError) -> bool:
    return isinstance(found, Conversation) or 0 < len(str(found)) < 1500


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated_rows())
def test_a_mutated_row_is_read_or_refused_and_what_is_read_is_canonical(case: tuple[str, Any]) -> None:
    name, row = case
    before = copy.deepcopy(row)
    found = read(name, row)
    assert repr(row) == repr(before)
    assert is_short(found)
    if isinstance(found, Conversation):
        assert list(canonical_messages(found.messages)) == list(found.messages)
        assert found.tools is None or all(tool["function"]["name"].strip() for tool in found.tools)
    with contextlib.suppress(DataError):
        detect_layout([row])


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("depth", [40, 400])
def test_deep_nesting_anywhere_is_refused_or_read(name: str, depth: int) -> None:
    for index, row in enumerate(SAMPLES[name].rows):
        n_places = len(list(places(row)))
        for place in range(0, n_places, max(1, n_places // 12)):
            for junk in (nested(depth), json.dumps(nested(depth)), "[" * depth, "{'a':" * depth):
                damaged = copy.deepcopy(SAMPLES[name].rows[index])
                container, key = list(places(damaged))[place]
                container[key] = junk
                assert is_short(read(name, damaged))


LONG = 200_000
TEXTS = (
    " ", "[", "{", "<tool_call>", "<tool_response>", "<tools>", "<functioncall> ", "USER:\n", "[f(", "\n", '"', "é",
    '{"name": "', "[{", ", optional ", "List[", "a", "</think>", "<functioncall> {'name': 'a', 'arguments': '{", "[ {",
    "You are provided with function signatures within <tools>", "<tool_call></tool_call> tags ", "(", "'", "<think>",
)  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_long_texts_take_linear_time(name: str) -> None:
    slowest = 0.0
    for text in TEXTS:
        hostile = text * (LONG // len(text))
        for place in range(len(list(places(SAMPLES[name].rows[0])))):
            row = copy.deepcopy(SAMPLES[name].rows[0])
            container, key = list(places(row))[place]
            if not isinstance(container[key], str) or place > 12:
                continue
            container[key] += hostile
            begin = time.process_time()
            read(name, row)
            slowest = max(slowest, time.process_time() - begin)
    assert slowest < 2


@pytest.mark.parametrize("name", ["project", "openai", "sharegpt", "apigen_mt", "toolace", "hermes", "glaive"])
def test_rows_that_went_through_arrow_are_read_the_same(name: str) -> None:
    sample = SAMPLES[name]
    layout = get_layout(name)
    for rows in ([row] for row in sample.rows[1:]):  # the first has text and parts in one column, which Arrow cannot
        (through,) = pa.Table.from_pylist(rows).to_pylist()
        assert layout.read(through).messages == layout.read(rows[0]).messages


def test_a_repeated_key_is_found_in_linear_time() -> None:
    text = "{" + ", ".join(f'"{n}": 1' for n in range(30_000)) + ', "29999": 1}'
    begin = time.process_time()
    with pytest.raises(ValueError, match='the key "29999" appears twice'):
        load_json(text)
    assert time.process_time() - begin < 1


def test_a_layout_can_be_sent_to_a_worker_process() -> None:
    layout = get_layout("xlam", session_id="row")
    assert pickle.loads(pickle.dumps(layout)) == layout
