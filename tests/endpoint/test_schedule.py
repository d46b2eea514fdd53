"""The order in which turns are requested."""

import asyncio

from tests.support.stub_server import StubServer
from trainer.endpoint import Endpoint, EndpointSettings, Generation, turn_request
from trainer.endpoint.schedule import Schedule, ask_turns
from trainer.types import EvalTurn


def eval_turn(session_id: str, turn: int) -> EvalTurn:
    return EvalTurn(session_id, turn, (), (), "", ())


def workers(n_sessions: int, n_turns: int, n_workers: int) -> list[list[tuple[str, int]]]:
    """Return the turns that each of `n_workers` equally fast workers gets."""
    schedule = Schedule([eval_turn(f"s{s}", t) for s in range(n_sessions) for t in range(n_turns)])
    taken: list[list[tuple[str, int]]] = [[] for _ in range(n_workers)]
    while True:
        got = False
        for mine in taken:
            turn = schedule.take(mine[-1][0] if mine else None)
            if turn is not None:
                mine.append((turn.session_id, turn.turn))
                got = True
        if not got:
            return taken


def test_a_worker_stays_with_its_session_and_takes_its_turns_in_order() -> None:
    for mine in workers(6, 4, 3):
        assert [turn for _, turn in mine] == [0, 1, 2, 3] * 2
        assert len({session_id for session_id, _ in mine}) == 2


def test_more_workers_than_sessions_all_have_work_and_take_no_turn_twice() -> None:
    taken = workers(2, 12, 6)
    assert [len(mine) for mine in taken] == [4] * 6
    assert len({turn for mine in taken for turn in mine}) == 24


def asked_order(server: StubServer, turns: list[EvalTurn], *, concurrency: int) -> list[EvalTurn]:
    """Return the turns in the order of their answers."""
    order: list[EvalTurn] = []

    async def run() -> None:
        async with Endpoint(EndpointSettings(server.url, n_connections=concurrency)) as endpoint:
            await ask_turns(
                turns,
                lambda turn: endpoint.chat(turn_request(turn, Generation("base", max_tokens=1))),
                concurrency=concurrency,
                on_answer=lambda turn, answer: order.append(turn),
            )

    asyncio.run(run())
    return order


def test_the_concurrency_is_reached_and_not_exceeded() -> None:
    turns = [eval_turn("one session", t) for t in range(40)]
    with StubServer(delay_s=0.05) as server:
        asked_order(server, turns, concurrency=8)
    assert server.most_open == 8


def test_one_worker_requests_session_after_session() -> None:
    turns = [eval_turn(f"s{s}", t) for s in range(3) for t in range(4)]
    with StubServer() as server:
        assert asked_order(server, turns, concurrency=1) == turns
