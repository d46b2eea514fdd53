"""Read the other answers that an assistant turn accepts beside its own. They are judged by, and never trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.messages.calls import read_arguments
from trainer.types import AcceptedCall, Message
from trainer.values.places import check_keys, decoded, described, fail, is_too_deep, take_list, take_object, take_text

_KEYS = ("name", "arguments", "values", "optional")


def read_alternatives(value: Any, where: str) -> list[list[dict[str, Any]]]:
    """Return the answers in canonical form: lists of calls with all four keys; an empty list makes no call.

    Each is a list of `{"name", "arguments", "values", "optional"}`. `values` are further accepted values by argument,
    `optional` are arguments that may be left out; an argument that only `values` names has to be there otherwise. All
    of it, or a part, may be JSON text. A null in an object counts as not given, because tables fill in nulls; JSON text
    can express it. Raises `DataError`.
    """
    answers = take_list(value, where, "alternatives")
    if is_too_deep(answers):
        fail(where, "alternatives are nested too deeply; make them flatter")
    return [
        [
            _call(call, f"{where}, alternative {index}, call {position}")
            for position, call in enumerate(take_list(answer, f"{where}, alternative {index}", "the calls"))
        ]
        for index, answer in enumerate(answers)
    ]


def accepted_answers(message: Message) -> tuple[tuple[AcceptedCall, ...], ...]:
    """Return the alternatives of a canonical message."""
    return tuple(
        tuple(
            AcceptedCall(
                call["name"],
                dict(call["arguments"]),
                {key: tuple(values) for key, values in call["values"].items()},
                tuple(call["optional"]),
            )
            for call in answer
        )
        for answer in message.get("alternatives") or ()
    )


def _call(item: Any, where: str) -> dict[str, Any]:
    call = take_object(item, where, "the call")
    check_keys(call, _KEYS, where)
    name = take_text(call.get("name"), where, "name")
    arguments = read_arguments(_without_nulls(call.get("arguments")), where, name)
    values = _values(call.get("values"), where)
    optional = [take_text(key, where, "an optional argument") for key in _texts(call.get("optional"), where)]
    for key in optional:
        if key not in arguments and key not in values:
            fail(where, f'optional names "{key:.60}", which is neither in arguments nor in values; add its value there')
    first = {key: given[0] for key, given in values.items() if given and key not in arguments and key not in optional}
    return {"name": name, "arguments": arguments | first, "values": values, "optional": optional}


def _values(value: Any, where: str) -> dict[str, list[Any]]:
    if value is None:
        return {}
    given = _without_nulls(decoded(value, where, "values") if isinstance(value, str) else value)
    if not isinstance(given, Mapping):
        fail(where, f"values are {described(given)}; they must be an object with a list of values for each argument")
    return {key: list(take_list(inner, where, f'the values of "{key:.60}"')) for key, inner in given.items()}


def _texts(value: Any, where: str) -> Sequence[Any]:
    return () if value is None else take_list(value, where, "optional")


def _without_nulls(value: Any) -> Any:
    return {key: inner for key, inner in value.items() if inner is not None} if isinstance(value, Mapping) else value
