"""Request many turns at once, those of a session one after another. Stores and scores nothing."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from trainer.types import EvalTurn

Answered = TypeVar("Answered")


class Schedule:
    """Decides which turn a worker requests next.

    The prompts of a session share their beginning, so a worker stays with its session: when it requests the next
    turn, the server's prefix cache already contains all of the prompt except its end. If there are more workers
    than sessions left, the idle ones help with the session that has the most turns left.
    """

    def __init__(self, turns: Iterable[EvalTurn]) -> None:
        self._waiting: dict[str, deque[EvalTurn]] = {}
        for turn in turns:
            self._waiting.setdefault(turn.session_id, deque()).append(turn)
        self._fresh = deque(self._waiting)

    def take(self, previous: str | None) -> EvalTurn | None:
        """Return the next turn for a worker whose last turn was from session `previous`, or None if none is left."""
        session_id = previous if previous is not None and self._waiting.get(previous) else self._pick()
        return None if session_id is None else self._waiting[session_id].popleft()

    def _pick(self) -> str | None:
        while self._fresh:
            session_id = self._fresh.popleft()
            if self._waiting[session_id]:
                return session_id
        longest = max(self._waiting, key=lambda name: len(self._waiting[name]), default=None)
        return longest if longest is not None and self._waiting[longest] else None


async def ask_turns(
    turns: Iterable[EvalTurn],
    ask: Callable[[EvalTurn], Awaitable[Answered]],
    *,
    concurrency: int,
    on_answer: Callable[[EvalTurn, Answered], None],
) -> None:
    """Request all turns, at most `concurrency` at a time, and call `on_answer` for each answer as it arrives.

    Raises the first exception of `ask`.
    """
    schedule = Schedule(turns)

    async def work() -> None:
        previous = None
        while (turn := schedule.take(previous)) is not None:
            on_answer(turn, await ask(turn))
            previous = turn.session_id

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
