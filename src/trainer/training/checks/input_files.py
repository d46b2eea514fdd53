"""Check that the files that a configuration names can be read and hold what they should. Imports no torch."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainer.config import Config
from trainer.config.problems import Problem, problem_of
from trainer.data.sources import read_text
from trainer.errors import DataError, ModelError, ToolSftError
from trainer.guard.conversations import KEY as GUARD_KEY
from trainer.guard.conversations import check_place
from trainer.tools import read_tools

_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")  # a tag that transformers adds to Jinja
_JSON_FILES = ("deepspeed", "fsdp_config", "accelerator_config")


def input_file_problems(cfg: Config) -> Iterator[Problem]:
    """Yield what is wrong with the tool file, the prompt, the template, the guard, and settings for several GPUs."""
    tools, prompt, template = cfg.data.tools_path, cfg.data.sysprompt_path, cfg.model.chat_template_path
    if tools is not None:
        yield from _caught("data.tools_path", lambda: read_tools(tools))
    if prompt is not None:
        yield from _caught("data.sysprompt_path", lambda: _read_prompt(prompt))
    if template is not None:
        yield from _caught("model.chat_template_path", lambda: _read_template(template))
    yield from _caught(GUARD_KEY, lambda: check_place(cfg))
    for key in _JSON_FILES:
        yield from _json_problems(key, cfg.train.get(key))


def _caught(key: str, read: Callable[[], object]) -> Iterator[Problem]:
    try:
        read()
    except ToolSftError as error:
        yield problem_of(error, key)


def _read_prompt(path: Path) -> None:
    if not read_text(path, key="data.sysprompt_path").strip():
        raise DataError(f"{path} is empty; write the system prompt into it, or remove the key")


def _read_template(path: Path) -> None:
    from jinja2 import Environment
    from jinja2.exceptions import TemplateSyntaxError

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}; name a Jinja chat template") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    if not text.strip():
        raise ModelError(f"{path} is empty; name a Jinja chat template")
    try:
        Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=False).parse(_GENERATION.sub("", text))
    except TemplateSyntaxError as error:
        raise ModelError(f"{path}:{error.lineno}: is not a Jinja template: {error.message}; correct it") from error


def _json_problems(key: str, value: Any) -> Iterator[Problem]:
    if not isinstance(value, str) or not value:
        return
    inline = value.startswith("{")
    where = f"train.{key}"
    try:
        content = json.loads(value if inline else Path(value).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        yield Problem(where, f"{value} cannot be read: {error.strerror}; name a JSON file, or write its content here")
    except (ValueError, RecursionError) as error:
        yield Problem(where, f"{value} is not valid JSON: {error}; correct it")
    else:
        if not isinstance(content, dict):
            yield Problem(where, f"{value} holds a {type(content).__name__}; it must hold a JSON object")
