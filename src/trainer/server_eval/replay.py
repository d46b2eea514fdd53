"""Replay a domain's real turns on a server, one concurrency after another, cold and warm. Needs no torch."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainer.calibration.record import request_bias
from trainer.config import Config
from trainer.data.chat_setup import make_request_setup
from trainer.data.domains import domain_turns, load_domain
from trainer.endpoint import Dialect, EndpointSettings, Generation, turn_request
from trainer.errors import DataError
from trainer.server_eval.cold_prompts import Salt, ignores_salt, salted
from trainer.server_eval.load import LevelResult, measure
from trainer.server_eval.offered import require_models
from trainer.types import EvalTurn
from trainer.util.progress import progress_bar

logger = logging.getLogger(__name__)


def replay(
    cfg: Config, settings: EndpointSettings, *, model: str, concurrencies: Sequence[int], n_turns: int
) -> list[LevelResult]:
    """Send `n_turns` evaluation turns to the server's `model` at each concurrency, and time the answers.

    Each level sends its turns twice: first cold, with prompts that no cache can hold, then the same requests again.
    Its result is that of the cold ones, and its `warm` that of the others.

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
        logit_bias=request_bias(cfg.output_dir, model=model, base=cfg.model.base_model_name),
    )
    turns = domain_turns(load_domain(cfg), cfg)
    hands = deal(turns, len(concurrencies), n_turns)
    dialect = Dialect()

    async def run() -> list[LevelResult]:
        salt = await _choose_salt(settings, turn_request(hands[0][0], generation), dialect)
        results = []
        for concurrency, hand in zip(concurrencies, hands, strict=True):
            bodies = salted([turn_request(turn, generation) for turn in hand], salt)
            with progress_bar(f"Concurrency {concurrency}", total=2 * len(bodies), unit="requests") as advance:
                cold, warm = [
                    await measure(settings, bodies, concurrency=concurrency, dialect=dialect, on_done=advance)
                    for _ in range(2)
                ]
                results.append(replace(cold, warm=warm))
        return results

    return asyncio.run(run())


async def _choose_salt(settings: EndpointSettings, body: Mapping[str, Any], dialect: Dialect) -> Salt:
    """Ask one turn twice, with one token of answer and two salts, to see whether the server heeds `cache_salt`."""
    short = salted([{**body, "max_tokens": 1}] * 2, "field")
    _, again = [await measure(settings, [one], concurrency=1, dialect=dialect) for one in short]
    if not ignores_salt(again, dialect):
        return "field"
    logger.warning("the server does not heed cache_salt: prompts are kept cold by a mark at their beginning")
    return "text"


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
