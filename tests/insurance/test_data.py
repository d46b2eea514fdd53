"""The data of insurance is valid. Needs no model and no network."""

from contextlib import chdir
from pathlib import Path

from trainer.config import load_config
from trainer.data.domains import load_domain
from trainer.tools import ToolSpecs
from trainer.types import EvalTurn

ROOT = Path(__file__).parent.parent
CONFIG = "configs/insurance.yaml"


def read_all_turns() -> list[EvalTurn]:
    """Return every assistant turn of both splits, with the messages before it."""
    turns: list[EvalTurn] = []
    with chdir(ROOT):  # the paths in the configuration are relative
        data = load_config(CONFIG).data
        for split in (data.train_split, data.eval_split):
            cfg = load_config(CONFIG, [f"data.eval_split='{split}'", "data.n_tool_sessions_eval=1000000"])
            turns += load_domain(cfg).read_turns(cfg)
    return turns


def test_there_are_turns_with_calls_and_turns_without() -> None:
    assert {bool(turn.gold_calls) for turn in read_all_turns()} == {True, False}


def test_the_system_prompt_is_first_and_nothing_in_it_is_left_to_fill_in() -> None:
    for turn in read_all_turns():
        assert turn.messages[0]["role"] == "system"
        assert "{{" not in str(turn.messages[0].get("content"))


def test_every_call_is_valid_for_its_tool() -> None:
    for turn in read_all_turns():
        specs = ToolSpecs(turn.tools)
        for call in turn.gold_calls:
            assert specs.violations(call) == [], f"session {turn.session_id}, turn {turn.turn}: {call}"
