"""Decide whether calls are valid for their tools. Compares no values; see `trainer.tools.equality`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from jsonschema.exceptions import ValidationError

from trainer.errors import DataError
from trainer.tools.parameters import Parameters, function_of, read_parameters
from trainer.tools.patterns import BUDGET, Budget, TooMuchWork
from trainer.tools.schema import ANYTHING, MAX_DEPTH, SchemaNode, is_too_deep
from trainer.types import Call, Tool

SchemaProblem = Literal["missing_required", "unknown_argument", "wrong_type", "not_in_enum", "other"]

_PROBLEM_OF_KEYWORD: Mapping[str, SchemaProblem] = {
    "required": "missing_required",
    "additionalProperties": "unknown_argument",
    "unevaluatedProperties": "unknown_argument",
    "type": "wrong_type",
    "enum": "not_in_enum",
    "const": "not_in_enum",
}

_MOST_CHARACTERS = 300  # of a message, which quotes the value


class Violation(NamedTuple):
    """One way in which a call breaks its tool's schema. `message` begins with the place inside the arguments."""

    kind: SchemaProblem
    message: str


class ToolProblem(NamedTuple):
    """Something wrong with a tool: the tool's position, counted from 1, and the words, which name the tool."""

    position: int
    message: str


class ToolSpecs:
    """The parameter schemas of the tools: the only judge of whether a call is valid.

    Raises DataError that lists everything wrong with the tools: no name or a repeated one, parameters that are not a
    JSON Schema of an object, references out of them or in circles, unusable patterns, unknown comparators.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tuple(tools)
        self._parameters, problems = check_tools(enumerate(self._tools, start=1))
        refuse(problems, where="tools")

    def __reduce__(self) -> tuple[type["ToolSpecs"], tuple[tuple[Tool, ...]]]:
        return ToolSpecs, (self._tools,)  # worker processes check again; validators do not travel

    def __contains__(self, name: object) -> bool:
        return name in self._parameters

    @property
    def names(self) -> tuple[str, ...]:
        """The tools' names, sorted."""
        return tuple(sorted(self._parameters))

    def node(self, name: str) -> SchemaNode:
        """The place of the arguments object of the tool `name`; ANYTHING if the tool is not specified."""
        return self._parameters[name].node if name in self._parameters else ANYTHING

    def problems(self, call: Call) -> frozenset[SchemaProblem]:
        """The kinds of `violations(call)`; empty when the call is valid. The tool must be specified."""
        return frozenset(violation.kind for violation in self.violations(call))

    def violations(self, call: Call) -> list[Violation]:
        """How `call` breaks its tool's schema; empty when it is valid. The tool must be specified.

        Beyond JSON Schema, an argument that the tool does not declare is an `unknown_argument`, because the tool's
        function would refuse it. Declared are the `properties` of the schema and of what it refers to or combines
        (`$ref`, `allOf`, `anyOf` and the like). A schema that says `additionalProperties`, `unevaluatedProperties` or
        `patternProperties` at one of these places decides for itself.

        A call that is nested too deeply, or whose patterns or references take too long to judge, is `other`.

        >>> tool = {"name": "f", "parameters": {"properties": {"n": {"type": "integer"}}}}
        >>> [violation.message for violation in ToolSpecs([tool]).violations(Call("f", {"n": "5", "m": 1}))]
        ["$: undeclared argument 'm'; declared: n", "$.n: '5' is not of type 'integer'"]
        """
        parameters = self._parameters[call.name]
        found = list(_undeclared(call, parameters.declared))
        if is_too_deep(call.arguments):
            return [*found, Violation("other", f"$: arguments are nested more than {MAX_DEPTH} levels deep")]
        token = BUDGET.set(Budget())
        try:
            found += map(_violation, parameters.validator.iter_errors(call.arguments))
        except TooMuchWork as error:
            found.append(Violation("other", f"$: cannot be judged: {error}"))
        except (ArithmeticError, ValueError, RecursionError) as error:
            # Numbers such as NaN, which JSON does not have, and schemas that go through many references at each
            # level. Only values of a hostile or broken model get here.
            found.append(Violation("other", f"$: cannot be judged: {error}"))
        finally:
            BUDGET.reset(token)
        return found


def check_tools(
    tools: Iterable[tuple[int, Tool]], *, unique_names: bool = True
) -> tuple[dict[str, Parameters], list[ToolProblem]]:
    """The parameters of tools by name, and everything that is wrong with the tools; each comes with its position."""
    checked: dict[str, Parameters] = {}
    positions: dict[str, int] = {}
    problems: list[ToolProblem] = []
    for position, tool in tools:
        function = function_of(tool)
        name = function.get("name")
        if not isinstance(name, str) or not name.strip():
            message = f'tool {position}: no function name; give it one: {{"function": {{"name": ...}}}}'
            problems.append(ToolProblem(position, message))
            continue
        where = f"tool {position} ({name})"
        if name in positions and unique_names:
            message = f"{where}: tool {positions[name]} has the same name; rename or remove one of them"
            problems.append(ToolProblem(position, message))
        positions.setdefault(name, position)
        checked[name] = read_parameters(function.get("parameters"))
        problems += [ToolProblem(position, f"{where}: {problem}") for problem in checked[name].problems]
    return checked, problems


def refuse(problems: Iterable[ToolProblem], *, where: str) -> None:
    """Raise DataError that lists all the problems in the order of the tools; do nothing without any."""
    messages = [message for _, message in sorted(problems, key=lambda problem: problem.position)]
    if len(messages) == 1:
        raise DataError(f"{where}: {messages[0]}")
    if messages:
        lines = "".join(f"\n  {message}" for message in messages)
        raise DataError(f"{where}: {len(messages)} problems{lines}")


def _undeclared(call: Call, declared: frozenset[str] | None) -> Iterator[Violation]:
    if declared is not None:
        names = ", ".join(sorted(declared)) or "none"
        for name in sorted(call.arguments.keys() - declared):
            yield Violation("unknown_argument", _shortened(f"$: undeclared argument {name!r}; declared: {names}"))


def _violation(error: ValidationError) -> Violation:
    return Violation(_kind(error), _shortened(f"{error.json_path}: {error.message}"))


def _shortened(message: str) -> str:
    return message if len(message) <= _MOST_CHARACTERS else f"{message[:_MOST_CHARACTERS]}…"


def _kind(error: ValidationError) -> SchemaProblem:
    if error.validator in ("anyOf", "oneOf"):
        # An optional number written as a string fails every alternative on its type: that is the reason.
        reasons = {_kind(inner) for inner in error.context or ()}
        return reasons.pop() if len(reasons) == 1 else "other"
    return _PROBLEM_OF_KEYWORD.get(str(error.validator), "other")
