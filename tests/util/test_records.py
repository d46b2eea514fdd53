"""JSON text becomes a record, or one sentence says what is wrong with it."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, StrictInt

from trainer.errors import DataError
from trainer.util.records import read_object, read_record


class Inner(BaseModel):
    kind: Literal["a", "b"]


class Sample(BaseModel):
    name: str
    count: StrictInt
    inner: tuple[Inner, ...] = ()
    rest: dict[str, Any] = {}


def test_unknown_keys_are_ignored() -> None:
    assert read_record(Sample, b'{"name": "x", "count": 1, "more": []}') == Sample(name="x", count=1)


def test_what_only_python_s_parser_takes_is_read() -> None:
    record = read_record(Sample, '{"name": "\\ud800", "count": 1, "rest": {"\\udfff": NaN, "big": 1e999}}')
    assert record.name == "\ud800"
    assert str(record.rest) == str({"\udfff": float("nan"), "big": float("inf")})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"^not a JSON object: Expecting"),
        (b"\xff\xfe{", r"^not a JSON object: "),
        ("[" * 100_000, r"^not a JSON object: "),
        ("[1]", r"^not a JSON object$"),
        ('{"count": 1}', r"^missing 'name'$"),
        ('{"name": 5, "count": 1}', r"^name is 5; expected a valid string$"),
        ('{"name": "x", "count": true}', r"^count is True; expected a valid integer$"),
        ('{"name": "x", "count": 1.0}', r"^count is 1\.0; expected a valid integer$"),
        ('{"name": "x", "count": 1, "inner": [{"kind": "c"}]}', r"^inner\.0\.kind is 'c'; expected 'a' or 'b'$"),
        ('{"name": "x", "count": 1, "inner": [3]}', r"^inner\.0 is 3; expected an object$"),
        ('{"name": ' + "[" * 500 + "]" * 500 + ', "count": 1}', r"^name is \[+\.\.\.\]+; expected a valid string$"),
    ],
)
def test_the_first_wrong_key_is_named_with_what_was_found_and_what_is_allowed(text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_record(Sample, text)


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(DataError) as caught:
        read_record(Sample, '{"name": "x", "count": "' + "9" * 5000 + '"}')
    assert len(str(caught.value)) < 200


def test_an_object_is_an_object() -> None:
    assert read_object('{"a": [1]}') == {"a": [1]}
