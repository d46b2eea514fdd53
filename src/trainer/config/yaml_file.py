"""Read a YAML mapping strictly: duplicate keys are errors, and `2e-4` is a number."""

import re
from pathlib import Path
from typing import Any

import yaml

from trainer.errors import ConfigError


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys; in PyYAML, the last one silently wins."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} occurs twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 requires a dot in a float, so PyYAML reads a learning rate of 2e-4 as text.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse_yaml(text: str) -> Any:
    """The value of one YAML document. Raises `yaml.YAMLError`."""
    return yaml.load(text, Loader=_StrictLoader)


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `ConfigError` with the file and line."""
    try:
        value = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; pass an existing configuration with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(value, dict):
        found = "is empty" if value is None else f"contains a {type(value).__name__}"
        raise ConfigError(f"{path}: {found}; it must contain the sections data, model, lora, train, eval")
    return value
