"""What every command shares: its parser, its messages on standard error, its exit codes. Imports nothing heavy."""

import argparse
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import IO, Any

from trainer.errors import ConfigError, ToolSftError
from trainer.util.messages import messages_shown
from trainer.util.plain_text import printable, readable_output
from trainer.util.secrets import HidingStream, hide, remember

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")

USER_ERROR = 2
BUG = 1
INTERRUPTED = 130


@dataclass(slots=True)
class ExitCode:
    """The exit code of a command, known when its `exit_code` block has ended."""

    value: int = 0


@contextmanager
def exit_code() -> Iterator[ExitCode]:
    """Run a command's work, with the package's log messages shown on standard error.

    A user's mistake is one message and exit code 2; any other error keeps its traceback. Nothing is printed with a
    secret in it.
    """
    code = ExitCode()
    with readable_output():
        try:
            with secrets_hidden(), messages_shown():
                yield code
        except ToolSftError as error:
            print(hide(printable(f"error: {error}")), file=sys.stderr)
            code.value = USER_ERROR
        except KeyboardInterrupt as error:
            print(printable(str(error)) or "interrupted", file=sys.stderr)
            code.value = getattr(error, "exit_code", INTERRUPTED)
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            if hide(text) == text:
                raise
            print(hide(text), end="", file=sys.stderr)
            code.value = BUG


@contextmanager
def secrets_hidden() -> Iterator[None]:
    """Inside the block, what any library prints or logs has no secrets."""
    make_record = logging.getLogRecordFactory()

    def make_hiding_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        return _without_secrets(make_record(*args, **kwargs))

    out, err = _hiding(sys.stdout), _hiding(sys.stderr)
    logging.setLogRecordFactory(make_hiding_record)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        logging.setLogRecordFactory(make_record)


def _hiding(stream: Any) -> IO[str]:
    hiding: Any = stream if isinstance(stream, HidingStream) else HidingStream(stream)
    found: IO[str] = hiding
    return found


def _without_secrets(record: logging.LogRecord) -> logging.LogRecord:
    try:
        text = record.getMessage()
    except Exception:  # wrong arguments; the handler reports them
        return record
    if (hidden := hide(text)) != text:
        record.msg, record.args = hidden, ()
    if record.exc_info and not record.exc_text:
        record.exc_text = hide(logging.Formatter().formatException(record.exc_info))
    return record


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: Any = None) -> None:
        with readable_output():
            super()._print_message(hide(message) if message else message, file)


def command_parser(prog: str, description: str | None, examples: str) -> argparse.ArgumentParser:
    """A parser whose help ends with examples; `%(prog)s` in them becomes `prog`. Its messages have no secrets."""
    return _Parser(
        prog=prog, description=description, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and `--set`."""
    parser.add_argument("--config", required=True, metavar="PATH", help="run configuration (YAML)")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add `--set`, which ends up as the list `overrides`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        help="override one key of the configuration; may be given several times",
    )


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add `--split`."""
    parser.add_argument("--split", help="split of the dataset (default: data.train_split)")


def add_server(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add `--endpoint` and `--api-key-env`."""
    parser.add_argument(
        "--endpoint", required=required, metavar="URL", help="address of the API: http://127.0.0.1:8000/v1"
    )
    parser.add_argument("--api-key-env", metavar="VAR", help="environment variable that holds the API key")


def positive(text: str) -> int:
    """Parse an argument that is a whole number of at least 1.

    >>> positive("12")
    12
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; must be a whole number of at least 1")
    return int(text)


def positive_number(text: str) -> float:
    """Parse an argument that is a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}; must be a number above 0")
    return number


def json_object(text: str) -> dict[str, Any]:
    """Parse an argument that is a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"got {text}; must be a JSON object")
    return value


def api_key(variable: str | None) -> str | None:
    """Return the key in the environment variable that `--api-key-env` names; None if it names none.

    Raises `ConfigError` if the variable is not set.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        if not _VARIABLE.fullmatch(variable):
            remember(variable)
            raise ConfigError("--api-key-env: takes the name of an environment variable, such as API_KEY, not the key")
        raise ConfigError(f"--api-key-env: {variable} is not set in the environment")
    remember(key)
    return key


def add_base(parser: argparse.ArgumentParser) -> None:
    """Add `--base`, for runs whose base model has moved."""
    parser.add_argument(
        "--base", metavar="PATH_OR_ID", help="base model of the run, if it has moved (default: the configured one)"
    )
