"""Replay a domain's real turns on a server, one concurrency after another. Needs no torch."""

import asyncio
import logging
from collections.abc import Sequence

from trainer.config import Config
from trainer.data.chat_setup import make_request_setup
from trainer.data.domains import domain_turns, load_domain
from trainer.endpoint import Dialect, EndpointSettings, Generation, turn_request
from trainer.errors import DataError
from trainer.server_eval.load import LevelResult, measure
from trainer.server_eval.offered import require_models
from trainer.types import EvalTurn
from trainer.util.progress import progress_bar

logger = logging.getLogger(__name__)


def replay(
    cfg: Config, settings: EndpointSettings, *, model: str, concurrencies: Sequence[int], n_turns: int
) -> list[LevelResult]:
    """Send `n_turns` evaluation turns to the server's `model` at each concurrency, and time the answers.

    Raises `EndpointError` if the server does not offer the model, and other `ToolSftError`s for configuration and data.
    """
    asyncio.run(require_models(settings, [model]))
    setup = make_request_setup(cfg)
    generation = Generation(
        model,
        cfg.eval.max_new_tokens_eval,
        temperature=cfg.eval.temperature,
        chat_template_kwargs=dict(setup.template_kwargs),
        keep_special_tokens=setup.keep_special_tokens,
        date_argument=setup.date_argument,
    )
    turns = domain_turns(load_domain(cfg), cfg)
    hands = deal(turns, len(concurrencies), n_turns)
    dialect = Dialect()

    async def run() -> list[LevelResult]:
        results = []
        for concurrency, hand in zip(concurrencies, hands, strict=True):
            bodies = [turn_request(turn, generation) for turn in hand]
            with progress_bar(f"Concurrency {concurrency}", total=len(bodies), unit="requests") as advance:
                level = measure(settings, bodies, concurrency=concurrency, dialect=dialect, on_done=advance)
                results.append(await level)
        return results

    return asyncio.run(run())


def deal(turns: Sequence[EvalTurn], n_levels: int, n_turns: int) -> list[list[EvalTurn]]:
    """Return `n_turns` turns for each level. Each level gets whole sessions, repeated if there are too few.

    If there are enough sessions, no level finds its prompts in a cache that another level filled.
    """
    sessions: dict[str, list[EvalTurn]] = {}
    for turn in turns:
        sessions.setdefault(turn.session_id, []).append(turn)
    if not sessions:
        raise DataError("data.eval_split has no assistant turn to replay")
    names = list(sessions)
    hands = []
    for level in range(n_levels):
        mine = [turn for name in names[level::n_levels] or names for turn in sessions[name]]
        hands.append([mine[index % len(mine)] for index in range(n_turns)])
    return hands
