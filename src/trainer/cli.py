"""What every script does with errors: a user's mistake is one message and exit code 2, without traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trainer.errors import ToolSftError

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
