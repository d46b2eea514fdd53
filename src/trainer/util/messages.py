"""Show log messages on standard error while a command runs: the package's own, and the warnings of its libraries."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from trainer.util.plain_text import printable

_OWN = "trainer"
_WITH_HANDLERS = ("transformers", "datasets", "huggingface_hub")
"""Libraries that print their messages themselves."""


def is_first_process() -> bool:
    """Return whether this is the only process, or the first one that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def messages_shown() -> Iterator[None]:
    """Print what the package logs, from level INFO up, and each warning of a library once.

    If a launcher started several processes, only the first one prints; the others print errors.
    """
    logger = logging.getLogger(_OWN)
    if any(isinstance(handler, _TerminalHandler) for handler in logger.handlers):
        yield  # a command inside another one
        return
    own, other = _TerminalHandler(logging.INFO), _TerminalHandler(logging.WARNING)
    own.setFormatter(_PlainFormatter("%(message)s"))
    other.setFormatter(_PlainFormatter("%(message)s", named=True))
    other.addFilter(_FirstOfOthers())
    level = logger.level
    root = logging.getLogger()
    logger.addHandler(own)
    logger.setLevel(logging.INFO)
    root.addHandler(other)
    try:
        with _libraries_propagate(), _warnings_logged():
            yield
    finally:
        root.removeHandler(other)
        logger.removeHandler(own)
        logger.setLevel(level)


@contextmanager
def _libraries_propagate() -> Iterator[None]:
    """Inside the block, messages of libraries go to the root logger only, also of those that are imported later."""
    with ExitStack() as later:
        for name in _WITH_HANDLERS:
            library: Any = logging.getLogger(name)
            for handler in list(library.handlers):
                library.removeHandler(handler)
                later.callback(library.addHandler, handler)
            later.callback(setattr, library, "propagate", library.propagate)
            kind = library.__class__
            # On import, the library adds its handler and stops the propagation. Both have no effect on this instance.
            library.__class__ = _PropagatingLogger
            later.callback(setattr, library, "__class__", kind)
        yield


class _PropagatingLogger(logging.Logger):
    """A logger without handlers of its own, whose messages always reach the root logger."""

    def addHandler(self, hdlr: logging.Handler) -> None:
        """Leave the handler out."""

    def callHandlers(self, record: logging.LogRecord) -> None:
        """Hand the record to the root logger."""
        logging.getLogger().callHandlers(record)


@contextmanager
def _warnings_logged() -> Iterator[None]:
    """Inside the block, Python's warnings are log messages without the line of code that raised them."""

    def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        logging.getLogger("py.warnings").warning("%s: %s", category.__name__, message)

    before = warnings.showwarning
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


class _FirstOfOthers(logging.Filter):
    """Lets each message of a library through once. The package's own messages have another handler."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[str, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.split(".")[0] == _OWN:
            return False
        key = (record.name, record.getMessage())
        is_new = key not in self._seen
        self._seen.add(key)
        return is_new


class _TerminalHandler(logging.Handler):
    """Prints above a progress bar instead of through it."""

    def __init__(self, level: int) -> None:
        super().__init__(level if is_first_process() else logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            from trainer.util.terminal import console  # brings the terminal library, which --help does not need

            text = printable(self.format(record))
            console.print(text, emoji=False, highlight=False, markup=False, soft_wrap=True)
        except Exception:  # as every handler of the standard library: a failed message ends no run
            self.handleError(record)


class _PlainFormatter(logging.Formatter):
    """`level: library: message`, without the level for information, and the library only for those of others."""

    def __init__(self, form: str = "%(message)s", *, named: bool = False) -> None:
        super().__init__(form)
        self._named = named

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if self._named and record.name != "py.warnings":
            text = f"{record.name.split('.')[0]}: {text}"
        return text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}"
