"""Ctrl-C and SIGTERM ask a run to stop where nothing is lost. Saves nothing itself."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from trainer.errors import RunInterrupted

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """Raised inside a block that may be left at once, when the run is asked to stop."""


class StopRequest:
    """Listens for Ctrl-C and SIGTERM inside a `with` block, in the main thread.

    The first signal is a request; the second one ends the program.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._may_raise = False
        self._earlier: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether the run has been asked to stop."""
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """The exit code of a program that a signal ended, as shells count it."""
        return 128 + (self.number or signal.SIGINT)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    @contextmanager
    def at_once(self, *, allowed: bool = True) -> Iterator[None]:
        """Inside the block, a request raises `Stopped`: there is nothing in it that must be completed."""
        if allowed and self.requested:
            raise Stopped
        self._may_raise = allowed
        try:
            yield
        finally:
            self._may_raise = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise RunInterrupted("stopped at once; --resume goes on from the last complete checkpoint", self.exit_code)
        self.number = number
        if self._may_raise:
            raise Stopped
        logger.warning("stopping after this step, with a checkpoint; once more stops at once")
