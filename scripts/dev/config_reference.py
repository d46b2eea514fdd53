"""Generate the table of configuration keys from the schema, and write it between the two markers in README.md."""

import argparse
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trainer.config.schema import (
    OWN_TRAIN_KEYS,
    TRAIN_DEFAULTS,
    DataConfig,
    EvalConfig,
    LoraConfig,
    ModelConfig,
    SourceConfig,
)

START, END = "<!-- configuration reference: start -->", "<!-- configuration reference: end -->"
SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataConfig,
    "data.sources[]": SourceConfig,
    "model": ModelConfig,
    "lora": LoraConfig,
    "eval": EvalConfig,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Replace the table in the file given by `--readme`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readme", type=Path, default=Path("README.md"), metavar="PATH")
    path: Path = parser.parse_args(argv).readme
    path.write_text(with_reference(path.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"Wrote the configuration reference into {path}")
    return 0


def with_reference(text: str) -> str:
    """Return the text with the current table between the markers."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{reference()}\n{END}{after}"


def reference() -> str:
    """Return the table: every key outside `train`, and one line each about `train` and `run`."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for section, model in SECTIONS.items():
        lines += [_row(f"{section}.{name}", field) for name, field in model.model_fields.items()]
    defaults = ", ".join(f"`{key}: {_text(value)}`" for key, value in TRAIN_DEFAULTS.items())
    own = ", ".join(f"`{key}`" for key in OWN_TRAIN_KEYS)
    lines.append(
        "| `train.*` | | | every key of the installed `transformers.TrainingArguments`, and "
        f"of this project: {own}; own defaults: {defaults} |"
    )
    lines.append("| `run.*` | | | the same keys, merged over `train` |")
    return "\n".join(lines)


def _row(key: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else f"`{_text(field.get_default(call_default_factory=True))}`"
    return f"| `{key}` | {' or '.join(_types(field.annotation))} | {default} | {field.description} |"


def _types(annotation: Any) -> Iterator[str]:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _types(member)
    elif origin is Literal:
        yield from (f"`{value}`" for value in get_args(annotation))
    elif origin is not None and hasattr(annotation, "__metadata__"):
        yield from _types(get_args(annotation)[0])
    elif annotation is type(None):
        yield "null"
    else:
        yield {str: "text", Path: "path", bool: "true, false", int: "integer", float: "number"}.get(
            annotation, "list" if origin is list else "mapping"
        )


def _text(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
