"""Read a run configuration: file, overrides, and all problems at once with the nearest valid key. Imports no torch."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter, ValidationError

from trainer.config.problems import Problem, refuse
from trainer.config.rules.old_keys import OLD_KEYS
from trainer.config.schema import OWN_TRAIN_KEYS, TRAIN_DEFAULTS, Config, SourceConfig
from trainer.config.training_keys import training_argument_types
from trainer.config.training_rules import training_problems
from trainer.config.yaml_file import parse_yaml, read_yaml_mapping
from trainer.errors import ConfigError
from trainer.util.secrets import HIDDEN, is_secret_name, remember, remember_in, without_secrets

_WIDER_TYPES: dict[str, Any] = {
    "resume_from_checkpoint": bool | str | None,
    "fsdp": bool | str | list[str] | None,
}
"""Keys that accept more than TrainingArguments' annotation; `resume_from_checkpoint: true` takes the newest one."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply `section.key=value` overrides and validate.

    Raises a `ConfigError` that lists every problem of the file.
    """
    raw = read_yaml_mapping(Path(path))
    for override in overrides:
        _apply_override(raw, override)
    cfg = parse_config(raw, source=str(path))
    cfg._path = Path(path)
    return cfg


def as_config(cfg: Config | Mapping[str, Any]) -> Config:
    """A validated configuration, from a `Config` or from a plain mapping as a YAML file contains it."""
    return cfg if isinstance(cfg, Config) else parse_config(cfg, source="configuration")


def parse_config(raw: Mapping[str, Any], *, source: str) -> Config:
    """Validate a plain mapping; `source` names it in errors. Raises `ConfigError`.

    What is wrong with the values of `train` is refused before a training (`trainer.training.preflight`), not here, but
    completes the list if something else is wrong.
    """
    remember_in(raw)
    train, problems = _read_train_sections(raw)
    problems += _dataset_problems(raw.get("data"))
    try:
        if train and _needs_no_code(raw):
            train.setdefault("recipe", "auto")
        cfg = Config.model_validate({**raw, "train": train} if train else raw)
    except ValidationError as error:
        problems += [_describe(dict(item)) for item in error.errors(include_url=False)]
    if problems:
        refuse(source, problems + training_problems(train))
    return cfg


def _needs_no_code(raw: Mapping[str, Any]) -> bool:
    """Whether the data is read by `chat_rows`, whose users get a recipe unless they decline it."""
    data = raw.get("data")
    return isinstance(data, Mapping) and data.get("load_module") == "chat_rows"


def _dataset_problems(data: Any) -> list[Problem]:
    if not isinstance(data, Mapping):  # the schema reports it
        return []
    if data.get("dataset_name") and data.get("sources"):
        return [
            Problem("data.sources", "given beside data.dataset_name; keep one, and list every dataset in data.sources")
        ]
    if not data.get("dataset_name") and not data.get("sources"):
        return [Problem("data.dataset_name", "missing; name a dataset, or list several in data.sources")]
    return []


def config_to_yaml(cfg: Config) -> str:
    """The configuration with every default filled in and without secrets, as YAML that can be loaded again."""
    content = cfg.model_dump(mode="json", exclude={"run"})
    content["train"] = without_secrets(content["train"])
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _apply_override(raw: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    section, dot, name = key.partition(".")
    if is_secret_name(key):
        remember(text)
        override = f"{key}={HIDDEN}"
    if not (separator and dot and section and name):
        raise ConfigError(f"--set {override}: must have the form section.key=value, e.g. train.max_steps=20")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML; quote it") from None
    target = raw.setdefault(section, {})
    if not isinstance(target, dict):
        raise ConfigError(f"--set {override}: {section} is not a section")
    target[name] = value


def _read_train_sections(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """`train` with `run` merged over it, values converted to the types of TrainingArguments, and the problems."""
    merged = dict(TRAIN_DEFAULTS)
    problems: list[Problem] = []
    known = training_argument_types() | _WIDER_TYPES | OWN_TRAIN_KEYS
    for section in ("train", "run"):
        values = raw.get(section, {})
        if not isinstance(values, Mapping):  # the schema reports it
            return {}, problems
        for key, value in values.items():
            if key not in known:
                problems.append(Problem(f"{section}.{key}", _unknown(str(key), known, section="train")))
                continue
            if isinstance(value, bool) and not _takes_bool(known[key]):
                problems.append(Problem(f"{section}.{key}", f"got {value}; must be a number"))
                continue
            try:
                merged[key] = TypeAdapter(known[key]).validate_python(value)
            except ValidationError as error:
                text = _describe(dict(error.errors(include_url=False)[0])).text
                hint = '; YAML reads an unquoted no as false, so write "no"' if value is False else ""
                problems.append(Problem(f"{section}.{key}", text + hint))
    return merged, problems


def _takes_bool(kind: Any) -> bool:
    """Whether a type is not plainly a number; pydantic would read true as 1."""
    return not {int, float} & {kind, *get_args(kind)} or bool in get_args(kind)


def _describe(error: dict[str, Any]) -> Problem:
    location = [str(part) for part in error["loc"]]
    is_source = location[:2] == ["data", "sources"] and len(location) > 3
    key = f"data.sources[{location[2]}].{location[3]}" if is_source else ".".join(location[:2]) or "(file)"
    if error["type"] == "extra_forbidden":
        section = Config.model_fields.get(location[0])
        model = section.annotation if section is not None and len(location) > 1 else Config
        model = SourceConfig if is_source else model
        return Problem(key, _unknown(location[-1], getattr(model, "model_fields", {}), section=location[0]))
    if error["type"] == "missing":
        return Problem(key, "missing; this key has no default")
    found = "nothing" if error["input"] is None else repr(error["input"])
    return Problem(key, f"got {found}; {_requirement(error['msg'])}")


def _requirement(message: str) -> str:
    text = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return f"must be {text}" if text != message and message.startswith("Input") else text


def _unknown(key: str, known: Iterable[str], *, section: str) -> str:
    if key in OLD_KEYS.get(section, {}):
        return f"unknown key; {OLD_KEYS[section][key]}"
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    return f"unknown key; did you mean {near[0]}?" if near else "unknown key; see the configuration reference"
