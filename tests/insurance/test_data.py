"""The data of insurance is valid. Needs no model and no network."""

from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.samples import rows_of
from trainer.config import load_config
from trainer.data import live_prompt
from trainer.data.domains import load_domain
from trainer.tools import ToolSpecs
from trainer.types import EvalTurn

ROOT = Path(__file__).parent.parent.parent
CONFIG = "configs/insurance/quickstart.yaml"


@pytest.fixture(scope="module")
def all_turns() -> list[EvalTurn]:
    """Every assistant turn of the sessions that the quickstart uses, with the messages before it."""
    turns: list[EvalTurn] = []
    with chdir(ROOT):  # the paths in the configuration are relative
        data = load_config(CONFIG).data
        for split in (data.train_split, data.eval_split):
            cfg = load_config(CONFIG, [f"data.eval_split='{split}'", "data.n_tool_sessions_eval=1000000"])
            turns += load_domain(cfg).read_turns(cfg)
    return turns


def test_there_are_turns_with_calls_and_turns_without(all_turns: list[EvalTurn]) -> None:
    assert {bool(turn.gold_calls) for turn in all_turns} == {True, False}


def test_the_system_prompt_is_first_and_nothing_in_it_is_left_to_fill_in(all_turns: list[EvalTurn]) -> None:
    for turn in all_turns:
        assert turn.messages[0]["role"] == "system"
        assert "{{" not in str(turn.messages[0].get("content"))


def test_the_prompt_has_the_day_of_the_session_and_an_application_gets_its_own() -> None:
    with chdir(ROOT):
        cfg = load_config(CONFIG)
        part = load_domain(cfg).open_rows(cfg).train[0]
        trained = str(part.reader.read(part.rows[0]).session.messages[0].get("content"))
        assert "Current DateTime (America/Toronto): " in trained
        assert rows_of("insurance", "train")[0]["inferred_date"] in trained
        live = live_prompt(cfg, now=datetime(2026, 1, 6, 3, tzinfo=UTC)).messages[0].get("content")
        assert "Monday 2026-01-05 22:00; tomorrow 06.01." in str(live)


def test_every_call_is_valid_for_its_tool(all_turns: list[EvalTurn]) -> None:
    for turn in all_turns:
        specs = ToolSpecs(turn.tools)
        for call in turn.gold_calls:
            assert specs.violations(call) == [], f"session {turn.session_id}, turn {turn.turn}: {call}"
