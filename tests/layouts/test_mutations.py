"""Thousands of damaged rows: never a traceback, and never a row accepted that a second checker rejects."""

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.support.reference_checker import Wrong, check_row
from trainer.data.layout_reader import LayoutReader
from trainer.data.row_files import PLACE, TEXT
from trainer.data.rows import schema_violations
from trainer.errors import DataError
from trainer.layouts import get_layout
from trainer.messages import is_trained

N_MUTATIONS = 2000
READER = LayoutReader(get_layout("openai", session_id="id"), (), None, None, "UTC", makes_ids=False)
Value = Any


def function(name: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return {"type": "function", "function": {"name": name, "description": f"Do {name}.", "parameters": schema}}


TOOLS = [
    function("weather", city={"type": "string"}, days={"type": "integer"}),
    function(
        "book",
        trip={
            "type": "object",
            "properties": {"to": {"type": "string"}, "cars": {"type": "array", "items": {"type": "string"}}},
            "required": ["to"],
        },
        window={"type": "boolean"},
    ),
]


def call(call_id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Weather in Vis and Rab?"},
            {"role": "assistant", "content": "", "tool_calls": [call("1", "weather", city="Vis"), call("2", "weather", city="Rab", days=2)]},  # noqa: E501
            {"role": "tool", "tool_call_id": "2", "content": "snow"},
            {"role": "tool", "tool_call_id": "1", "content": "sun"},
            {"role": "assistant", "content": "Sun and snow."},
            {"role": "user", "content": [{"type": "text", "text": "Thanks"}]},
            {"role": "assistant", "content": "You are welcome.", "weight": 1},
        ],
        "tools": TOOLS,
    },
    {
        "id": "b",
        "messages": [
            {"role": "user", "content": "Book a trip."},
            {"role": "assistant", "content": "Gladly.", "tool_calls": [call("x", "book", trip={"to": "Hvar", "cars": ["van"]}, window=True)], "train": False},  # noqa: E501
            {"role": "tool", "tool_call_id": "x", "content": "error: no room"},
            {"role": "assistant", "content": "There is no room.", "reasoning_content": "Tell them."},
        ],
        "tools": json.dumps(TOOLS),
    },
    {
        "id": "c",
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "function_call": {"name": "weather", "arguments": '{"city": "Vis"}'}},
            {"role": "function", "name": "weather", "content": "sun"},
            {"role": "assistant", "content": "Sun."},
        ],
        "tools": TOOLS,
    },
    {
        "id": "d",
        "messages": [{"role": "user", "content": "Book."}, {"role": "assistant", "content": "", "tool_calls": [call("y", "book", trip={"to": "Rab"})]}],  # noqa: E501
        "tools": TOOLS,
    },
]  # fmt: skip

OTHER_VALUES: tuple[Any, ...] = (
    None, "", " ", "x", 0, 1, -1.5, True, False, [], {}, [None], ["x"], {"x": 1}, [[]], {"role": "user"}, "null", "{}",
    "[]", '{"city": 1}', float("nan"), "assistant", "tool", "weather",
)  # fmt: skip


def places(value: Value) -> list[tuple[Any, Any]]:
    """Every container of a value, with each of its keys or indexes."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        found += places(inner)
    return found


def drop(rng: random.Random, container: Any, key: Any) -> None:
    del container[key]


def duplicate(rng: random.Random, container: Any, key: Any) -> None:
    if isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    else:
        container[f"{key}_2"] = copy.deepcopy(container[key])


def retype(rng: random.Random, container: Any, key: Any) -> None:
    container[key] = copy.deepcopy(rng.choice(OTHER_VALUES))


def as_text(rng: random.Random, container: Any, key: Any) -> None:
    container[key] = json.dumps(container[key])


def rename(rng: random.Random, container: Any, key: Any) -> None:
    if isinstance(container, dict):
        container[rng.choice([f"{key}s", key[:-1], key.upper(), "content", "role", "name", "x"])] = container.pop(key)


def swap(rng: random.Random, container: Any, key: Any) -> None:
    other = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
    container[key], container[other] = container[other], container[key]


def edit_text(rng: random.Random, container: Any, key: Any) -> None:
    if isinstance(container[key], str) and container[key]:
        at = rng.randrange(len(container[key]))
        container[key] = container[key][:at] + rng.choice(["", "x", '"', "}", "1", " "]) + container[key][at + 1 :]


KINDS: tuple[Callable[[random.Random, Any, Any], None], ...] = (
    drop, duplicate, retype, as_text, rename, swap, edit_text,
)  # fmt: skip


def mutated(rng: random.Random, rows: Sequence[Any] = ROWS, values: Sequence[Any] = ()) -> str:
    """The text of a good row after one to four random changes; often one of `values` takes a place."""
    row = copy.deepcopy(rng.choice(rows))
    if values and rng.random() < 0.5:
        container, key = rng.choice(places(row))
        container[key] = rng.choice(values)
    for _ in range(rng.randint(1, 4)):
        found = places(row)
        if found:
            container, key = rng.choice(found)
            rng.choice(KINDS)(rng, container, key)
    text = json.dumps(row)
    return text if rng.random() > 0.03 else text[: rng.randrange(len(text))]


def is_accepted(text: str) -> bool:
    """Whether a training would use the row."""
    try:
        session = READER.read({TEXT: text, PLACE: "rows.jsonl:1"}).session
    except DataError:
        return False
    return not schema_violations(session) and any(map(is_trained, session.messages))


def is_right(text: str) -> bool:
    try:
        check_row(text)
    except (Wrong, ValueError, TypeError, AttributeError):  # what it cannot even read
        return False
    return True


def test_the_good_rows_are_accepted_by_both() -> None:
    assert all(is_accepted(json.dumps(row)) and is_right(json.dumps(row)) for row in ROWS)


@pytest.mark.parametrize("seed", range(4))
def test_no_row_is_accepted_that_the_reference_checker_rejects(seed: int) -> None:
    rng = random.Random(seed)
    accepted = rejected = 0
    for _ in range(N_MUTATIONS // 4):
        text = mutated(rng)
        taken, right = is_accepted(text), is_right(text)
        assert right or not taken, text
        accepted += taken
        rejected += not taken
    assert accepted > 20
    assert rejected > 200
