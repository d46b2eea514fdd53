"""Problems of a configuration: one key and one sentence each, and the list of them that a user reads."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trainer.errors import ConfigError, ToolSftError
from trainer.util.secrets import hide

_KEY = re.compile(r"((?:data|model|lora|train|run|eval)\.[a-z_.\[\]0-9]+): ")


class Problem(NamedTuple):
    """What is wrong with one key, and what to do. `error` is the class to raise if all problems are of this class."""

    key: str
    text: str
    error: type[ToolSftError] = ConfigError


def problem_list(source: str, problems: Sequence[Problem]) -> str:
    """Return the message that lists problems, with their keys aligned.

    >>> print(problem_list("my.yaml", [Problem("lora.r", "got 0; must be at least 1")]))
    my.yaml: 1 problem
      lora.r   got 0; must be at least 1
    """
    width = max(len(problem.key) for problem in problems)
    lines = "\n".join(f"  {problem.key:<{width}}   {problem.text}" for problem in problems)
    return f"{source}: {len(problems)} problem{'s' * (len(problems) > 1)}\n{lines}"


def refuse(source: str, problems: Sequence[Problem]) -> None:
    """Raise one error that lists all problems, if there are any: of their common class, else a `ConfigError`."""
    if problems:
        kinds = {problem.error for problem in problems}
        raise (kinds.pop() if len(kinds) == 1 else ConfigError)(hide(problem_list(source, problems)))


def problem_of(error: ToolSftError, key: str) -> Problem:
    """Return a raised error as a problem of the key that its message begins with, else of `key`."""
    text = str(error)
    named = _KEY.match(text)
    return Problem(named[1], text[named.end() :], type(error)) if named else Problem(key, text, type(error))


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the end of a sentence on an unknown name: the nearest known one, else all of them.

    >>> nearest("cosin", ["linear", "cosine"])
    'did you mean cosine?'
    """
    names = list(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"must be one of {', '.join(names)}"
