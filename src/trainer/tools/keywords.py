"""JSON Schema's validators with keywords of our own where the library's could hang or fetch. Knows no tools."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import jsonschema
import jsonschema.validators
from jsonschema.exceptions import ValidationError
from referencing.jsonschema import DRAFT4, DRAFT6, DRAFT7, DRAFT201909, DRAFT202012

from trainer.tools.patterns import search, spend_step

_DEFAULT = "json-schema.org/draft/2020-12/schema"
_DRAFTS: Mapping[str, tuple[Any, Any]] = {
    _DEFAULT: (jsonschema.Draft202012Validator, DRAFT202012),
    "json-schema.org/schema": (jsonschema.Draft202012Validator, DRAFT202012),
    "json-schema.org/draft/2019-09/schema": (jsonschema.Draft201909Validator, DRAFT201909),
    "json-schema.org/draft-07/schema": (jsonschema.Draft7Validator, DRAFT7),
    "json-schema.org/draft-06/schema": (jsonschema.Draft6Validator, DRAFT6),
    "json-schema.org/draft-04/schema": (jsonschema.Draft4Validator, DRAFT4),
}


class Draft(NamedTuple):
    """A draft of JSON Schema: the library's validator, how it names and refers, and the validator that judges calls."""

    plain: Any
    specification: Any
    bounded: Any


def find_draft(name: object) -> Draft | None:
    """The draft that `$schema` names, the newest for None; no draft for an unknown name, which is never looked up."""
    if name is None:
        return _draft(_DEFAULT)
    key = str(name).rstrip("#").removeprefix("https://").removeprefix("http://")
    return _draft(key) if key in _DRAFTS else None


@cache
def _draft(key: str) -> Draft:
    plain, specification = _DRAFTS[key]
    own: dict[str, Callable[..., Iterator[ValidationError]]] = {
        "$ref": _ref,
        "additionalProperties": _additional_properties,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "unevaluatedProperties": _unevaluated_properties,
    }
    changed = {keyword: function for keyword, function in own.items() if keyword in plain.VALIDATORS}
    unevaluated_items = plain.VALIDATORS.get("unevaluatedItems")
    if unevaluated_items is not None:
        changed["unevaluatedItems"] = _counted(unevaluated_items)
    extend: Any = jsonschema.validators.extend
    return Draft(plain, specification, extend(plain, changed))


def _ref(validator: Any, reference: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    spend_step()
    yield from validator.descend(instance, reference.target)


def _counted(keyword: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        spend_step()
        yield from keyword(validator, value, instance, schema) or ()

    return counted


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not search(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        for pattern, inner in patterns.items():
            for name, value in instance.items():
                if search(pattern, name):
                    yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        extras = [name for name in instance if not _is_named(schema, name)]
        yield from _judge_extras(validator, allowed, instance, extras)


def _unevaluated_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        others = {keyword: value for keyword, value in schema.items() if keyword != "unevaluatedProperties"}
        known = _evaluated(validator, instance, others)
        yield from _judge_extras(validator, allowed, instance, [name for name in instance if name not in known])


def _judge_extras(
    validator: Any, allowed: Any, instance: Mapping[str, Any], extras: list[str]
) -> Iterator[ValidationError]:
    if allowed is False and extras:
        names = ", ".join(map(repr, sorted(extras)))
        yield ValidationError(f"properties that the schema does not allow: {names}")
    elif allowed is not False:
        for name in extras:
            yield from validator.descend(instance[name], allowed, path=name)


def _is_named(schema: Mapping[str, Any], name: str) -> bool:
    return name in schema.get("properties", ()) or any(search(p, name) for p in schema.get("patternProperties", ()))


def _evaluated(validator: Any, instance: Mapping[str, Any], schema: Any) -> set[str]:
    """The members of an object that a schema, or one that judges the same object and accepts it, speaks about."""
    spend_step()
    if not isinstance(schema, dict):
        return set()
    if "additionalProperties" in schema or "unevaluatedProperties" in schema:
        return set(instance)
    known = {name for name in instance if _is_named(schema, name)}
    if "$ref" in schema:
        known |= _evaluated(validator, instance, schema["$ref"].target)
    inner = [one for keyword in ("allOf", "anyOf", "oneOf") for one in schema.get(keyword, ())]
    inner += [one for name, one in schema.get("dependentSchemas", {}).items() if name in instance]
    if "if" in schema:
        holds = validator.evolve(schema=schema["if"]).is_valid(instance)
        inner += [schema["if"], schema.get("then", True)] if holds else [schema.get("else", True)]
    for one in inner:
        if validator.evolve(schema=one).is_valid(instance):
            known |= _evaluated(validator, instance, one)
    return known
