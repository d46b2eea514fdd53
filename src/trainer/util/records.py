"""Read JSON text that has to have a certain shape, and say in one sentence what is wrong with it. Knows no file."""

import json
import re
import reprlib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from trainer.errors import DataError

Record = TypeVar("Record", bound=BaseModel)

_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 80


def read_object(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object. Raises `DataError` if the text is anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise DataError("not a JSON object")
    return value


def read_record(model: type[Record], text: str | bytes) -> Record:
    """Return a JSON object as a record. Raises `DataError` that names the first key that is wrong."""
    return as_record(model, read_object(text))


def as_record(model: type[Record], value: Any) -> Record:
    """Return a JSON value as a record. Raises `DataError` that names the first key that is wrong.

    The value is checked after `json.loads`: pydantic's own parser refuses half surrogate pairs, which models write.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise DataError(_problem(error)) from None


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"missing {key!r}"
    expected = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    expected = re.sub(r"a valid dictionary( or instance of \w+)?", "an object", expected)
    return f"{key} is {_shown.repr(first['input']):.120}; {expected}"
