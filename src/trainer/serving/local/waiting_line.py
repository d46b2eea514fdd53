"""A lock that serves in the order of arrival, and from which a waiting thread may go away."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_CHECK_S = 0.5


class WaitingLine:
    """The threads that wait for one thing. The first one has it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[object] = deque()

    @contextmanager
    def turn(self, while_waiting: Callable[[], object]) -> Iterator[None]:
        """Wait for the own turn. `while_waiting` is called twice a second meanwhile, and may raise to leave."""
        ticket = object()
        with self._changed:
            self._line.append(ticket)
        try:
            while not self._is_first(ticket):
                while_waiting()
            yield
        finally:
            with self._changed:
                self._line.remove(ticket)
                self._changed.notify_all()

    def _is_first(self, ticket: object) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._line[0] is ticket, timeout=_CHECK_S)
