"""Helpers for tests of served evaluation: evaluation turns, a server that answers with gold, a config for it."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import car_sales
from tests.support.quick import QUICKSTART
from tests.support.stub_server import StubServer, key_of, wire_call
from trainer.config import Config, load_config
from trainer.endpoint import EndpointSettings, Generation, RetryPolicy, turn_request
from trainer.server_eval.evaluate import ServedOptions
from trainer.tool_calls import get_format
from trainer.types import EvalTurn

IMPATIENT = RetryPolicy(n_attempts=4, first_wait_s=0.02, longest_wait_s=0.1)


def served_config(output_dir: Path, *overrides: str, n_sessions: int = 3) -> Config:
    """Return the quickstart configuration with a few of its test sessions."""
    sessions = [f"data.eval_split=test[:{n_sessions}]", f"data.n_tool_sessions_eval={n_sessions}"]
    return load_config(QUICKSTART, [*sessions, f"train.output_dir={output_dir}", *overrides])


def options(server: StubServer, **changes: Any) -> ServedOptions:
    """Return options that ask the stub server's base model with short waits."""
    settings = {"timeout_s": 5.0, "n_connections": 16, "retries": IMPATIENT, **changes.pop("settings", {})}
    return ServedOptions(EndpointSettings(server.url, **settings), changes.pop("model", "base"), **changes)


def gold_message(turn: EvalTurn) -> dict[str, Any]:
    """Return the gold answer as a server with a parser sends it."""
    calls = [wire_call(c.name, json.dumps(c.arguments), index=i) for i, c in enumerate(turn.gold_calls)]
    return {"content": turn.gold_content or None, **({"tool_calls": calls} if calls else {})}


def gold_text(turn: EvalTurn) -> dict[str, Any]:
    """Return the gold answer as a server without a parser sends it."""
    return {"content": turn.gold_content + get_format("hermes").render(turn.gold_calls)}


def turn_keys(turns: Sequence[EvalTurn]) -> list[str]:
    """Return how the stub server identifies each turn."""
    return [key_of(turn_request(turn, Generation("base", max_tokens=1))) for turn in turns]


def answering(
    turns: Sequence[EvalTurn], message: Callable[[EvalTurn], dict[str, Any]] = gold_message
) -> Callable[[dict[str, Any]], Mapping[str, Any]]:
    """Return the server's answer to every request: `message` of the requested turn."""
    table = {key: message(turn) for key, turn in zip(turn_keys(turns), turns, strict=True)}
    return lambda body: table[key_of(body)]


def turns_of(cfg: Config) -> list[EvalTurn]:
    """Return the turns that an evaluation with `cfg` asks."""
    return car_sales.read_turns(cfg)
