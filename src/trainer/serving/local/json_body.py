"""Read the JSON object in the body of a request, strictly."""

from typing import Any

from trainer.serving.local.request_error import RequestError
from trainer.values.json_reader import MAX_DEPTH, load_json
from trainer.values.places import HALF_CHARACTER, half_character, is_too_deep


def read_json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a request, in which every key is unique. Raises `RequestError`."""
    try:
        value = load_json(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RequestError(400, f"the request is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}") from error
    except RecursionError as error:
        raise RequestError(400, _TOO_DEEP) from error
    except ValueError as error:
        raise RequestError(400, f"the request is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(400, "the request is not a JSON object")
    if is_too_deep(value):
        raise RequestError(400, _TOO_DEEP)
    if (half := half_character(value)) is not None:
        raise RequestError(400, f"the request contains {half}, which is {HALF_CHARACTER}")
    return value


_TOO_DEEP = f"the request is nested more than {MAX_DEPTH} deep"
