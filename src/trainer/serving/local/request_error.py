"""The refusal of a request, as an exception and in the form of OpenAI's API."""

from collections.abc import Mapping
from typing import Any

_MOST_SHOWN = 2000  # characters of a message
_KINDS: Mapping[int, str] = {404: "NotFoundError", 500: "InternalServerError", 503: "ServiceUnavailableError"}


class RequestError(Exception):
    """A request that cannot be answered: HTTP status and message. `param` is the key of the request that is wrong.

    `headers` are those that HTTP requires with the status, such as `Allow`.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message if len(message) <= _MOST_SHOWN else f"{message[:_MOST_SHOWN]}…")
        self.status, self.param = status, param
        self.headers: Mapping[str, str] = headers or {}


def error_object(error: RequestError) -> dict[str, Any]:
    """Return the body of an error response."""
    kind = _KINDS.get(error.status, "BadRequestError")
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.status}}
