"""The keys, defaults and names of the installed `transformers.TrainingArguments`, read without importing torch.

The class is a dataclass, so its annotated assignments are its keys. Reading the source makes `--help` and
configuration errors instant, and supports every key and name of the installed version.
"""

import ast
import importlib.util
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Union

_PLAIN_TYPES: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool, "None": None}
_PLAIN_TYPES |= {"dict": dict, "dict[str, Any]": dict[str, Any], "list[str]": list[str]}


@cache
def training_argument_types() -> dict[str, Any]:
    """Each key and the type that its YAML value must have (`Any` if the annotation is not a plain type).

    Enumerations such as `IntervalStrategy` accept their string form; `enumeration_members` are the known ones.
    """
    return {name: _plain_type(ast.unparse(item.annotation)) for name, item in _fields()}


@cache
def training_argument_defaults() -> dict[str, Any]:
    """Each key whose default is written as a plain value, and that value."""
    defaults = {}
    for name, item in _fields():
        if isinstance(item.value, ast.Call):
            options = {option.arg: option.value for option in item.value.keywords}
            if "default" in options:
                with suppress(ValueError):
                    defaults[name] = ast.literal_eval(options["default"])
            elif ast.unparse(options.get("default_factory", ast.Constant(None))) == "list":
                defaults[name] = []
    return defaults


@cache
def training_argument_choices(key: str) -> tuple[str, ...]:
    """The values that the field of a key lists as its choices; empty if it lists none as plain values."""
    for node in ast.walk(dict(_fields())[key]):
        if isinstance(node, ast.Dict):
            for name, value in zip(node.keys, node.values, strict=True):
                if isinstance(name, ast.Constant) and name.value == "choices" and isinstance(value, ast.List):
                    return tuple(ast.literal_eval(value))
    return ()


@cache
def enumeration_members(module: str, name: str) -> tuple[str, ...]:
    """The values of an enumeration in a file of transformers, such as `trainer_utils`."""
    return tuple(
        str(item.value.value)
        for item in _class_body(name, module)
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Constant)
    )


@cache
def scheduler_options() -> dict[str, tuple[str, ...] | None]:
    """Each learning rate schedule and the keys that `lr_scheduler_kwargs` may have for it; None if it takes any."""
    tree = _tree("optimization")
    functions = {node.name: node.args for node in tree.body if isinstance(node, ast.FunctionDef)}
    members = {
        item.targets[0].id: item.value.value
        for item in _class_body("SchedulerType", "trainer_utils")
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name)
        if isinstance(item.value, ast.Constant)
    }
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TYPE_TO_SCHEDULER_FUNCTION"
    )
    assert isinstance(table, ast.Dict)
    options: dict[str, tuple[str, ...] | None] = {}
    for member, function in zip(table.keys, table.values, strict=True):
        arguments = functions[ast.unparse(function)]
        names = tuple(one.arg for one in (*arguments.args, *arguments.kwonlyargs) if one.arg not in _FROM_TRAINER)
        assert member is not None
        options[str(members[ast.unparse(member).rpartition(".")[2]])] = None if arguments.kwarg else names
    return options


_FROM_TRAINER = ("optimizer", "num_warmup_steps", "num_training_steps", "last_epoch")


def _fields() -> list[tuple[str, ast.AnnAssign]]:
    body = _class_body("TrainingArguments", "training_args")
    return [(i.target.id, i) for i in body if isinstance(i, ast.AnnAssign) and isinstance(i.target, ast.Name)]


def _class_body(name: str, module: str) -> list[ast.stmt]:
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node.body
    raise ImportError(f"the installed transformers defines no {name} in {module}.py")


@cache
def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise ImportError("transformers is not installed; run `uv sync`")
    return ast.parse((Path(spec.origin).parent / f"{module}.py").read_text(encoding="utf-8"))


def _plain_type(annotation: str) -> Any:
    parts = annotation.split(" | ")
    if any("[" in part and part not in _PLAIN_TYPES for part in parts):
        return Any
    known = [_PLAIN_TYPES[part] for part in parts if part in _PLAIN_TYPES]
    return Union[tuple(known)] if known else Any  # noqa: UP007 - the members are only known at run time
