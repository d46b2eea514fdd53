"""Scoring is fast enough for evaluation."""

import random
import time

import pytest

from tests.support.scoring import call, number_turns, tool, turn
from trainer.eval_metrics import score
from trainer.types import Call

TOOLS = [
    tool(f"t{index}", make={"type": "string"}, price={"type": "number", "default": 5}, tags={"type": "array"})
    for index in range(8)
]


def test_ten_thousand_turns_are_scored_in_under_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(0)
    offered = [f"t{index}" for index in range(8)]

    def calls() -> list[Call]:
        return [
            call(rng.choice(offered), make=rng.choice("abc"), price=rng.random(), tags=["x", {"y": [1, 2]}])
            for _ in range(rng.choice([0, 1, 1, 2, 3]))
        ]

    kinds = []
    for _ in range(1000):
        gold = calls()
        kinds.append(turn(gold, (gold if rng.random() < 0.8 else calls()) or "Hello!", offered=offered))
    turns = number_turns([rng.choice(kinds) for _ in range(10_000)], per_session=8)
    caplog.set_level("INFO", "trainer")
    start = time.process_time()
    scores = score(turns, TOOLS, progress=True)
    assert time.process_time() - start < 10
    assert scores.metrics["n_turns"] == 10_000
    assert len(scores.intervals) > 15
    assert "Scoring turns: 10000/10000 turns" in caplog.text
