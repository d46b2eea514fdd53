"""What every script does with errors: a user's mistake is one message and exit code 2, without traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trainer.errors import ConfigError, ToolSftError

USER_ERROR = 2
INTERRUPTED = 130


@dataclass(slots=True)
class ExitCode:
    """The exit code of a script, known when its `exit_code` block has ended."""

    value: int = 0


@contextmanager
def exit_code() -> Iterator[ExitCode]:
    """Run a script's work: errors of the user are printed to standard error, others keep their traceback."""
    code = ExitCode()
    try:
        yield code
    except ToolSftError as error:
        print(f"error: {error}", file=sys.stderr)
        code.value = USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code.value = INTERRUPTED


def api_key(variable: str | None) -> str | None:
    """The key in the environment variable that `--api-key-env` names; None where it names none.

    Raises `ConfigError` where the variable is not set.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"--api-key-env: {variable} is not set in the environment")
    return key
