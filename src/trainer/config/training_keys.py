"""The keys of the installed `transformers.TrainingArguments`, read without importing torch.

The class is a dataclass, so its annotated assignments are its keys. Reading the source makes `--help` and
configuration errors instant, and supports every key of the installed version.
"""

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Union

_PLAIN_TYPES: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool, "None": None}
_PLAIN_TYPES |= {"dict": dict, "dict[str, Any]": dict[str, Any], "list[str]": list[str]}


@cache
def training_argument_types() -> dict[str, Any]:
    """Each key and the type that its YAML value must have (`Any` if the annotation is not a plain type).

    Enumerations such as `IntervalStrategy` accept their string form; `TrainingArguments` itself checks
    the members later.
    """
    return {
        item.target.id: _plain_type(ast.unparse(item.annotation))
        for item in _class_body("TrainingArguments")
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


def _class_body(name: str) -> list[ast.stmt]:
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise ImportError("transformers is not installed; run `uv sync`")
    source = (Path(spec.origin).parent / "training_args.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node.body
    raise ImportError(f"the installed transformers defines no {name} in training_args.py")


def _plain_type(annotation: str) -> Any:
    parts = annotation.split(" | ")
    if any("[" in part and part not in _PLAIN_TYPES for part in parts):
        return Any
    known = [_PLAIN_TYPES[part] for part in parts if part in _PLAIN_TYPES]
    return Union[tuple(known)] if known else Any  # noqa: UP007 - the members are only known at run time
