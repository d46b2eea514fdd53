"""Fifty tools over rows of three each: judged by the row's own tools, kept on disk, and served as trained."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import parity as parity_script
import pytest

import chat_rows
from tests.support.tiny_runs import make_run, serving
from trainer.config import Config
from trainer.eval_metrics import make_prediction, read_predictions, read_tools, score
from trainer.scoring.predictions import write_predictions
from trainer.serving.local.service import load_service
from trainer.serving.plan import plan_serving
from trainer.tool_calls import get_format
from trainer.tools.wire import unique_tools
from trainer.training.finished_run import FinishedRun
from trainer.types import Call, EvalTurn

N_TOOLS = 50
KINDS = {"string": "a", "integer": 1, "boolean": True, "number": 1.5}


def tool(number: int) -> dict[str, Any]:
    """One of fifty different tools. Every tenth has the name `shared` and another schema each time."""
    kind = list(KINDS)[number % len(KINDS)]
    name = "shared" if number % 10 == 0 else f"tool_{number}"
    properties = {"value": {"type": kind}, f"extra_{number}": {"type": "string"}}
    parameters = {"type": "object", "properties": properties, "required": ["value"]}
    return {"type": "function", "function": {"name": name, "description": f"Tool {number}.", "parameters": parameters}}


def row(number: int) -> dict[str, Any]:
    """A session with three tools that calls the first of them."""
    numbers = [number % N_TOOLS, (number + 1) % N_TOOLS, (number + 2) % N_TOOLS]
    function = tool(numbers[0])["function"]
    value = KINDS[function["parameters"]["properties"]["value"]["type"]]
    call = {"name": function["name"], "arguments": json.dumps({"value": value})}
    return {
        "id": f"s{number}",
        "messages": [
            {"role": "user", "content": f"Please do case {number}."},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": call}]},
            {"role": "tool", "tool_call_id": "c", "content": f"result {number}"},
            {"role": "assistant", "content": f"Case {number} is done."},
        ],
        "tools": [tool(one) for one in numbers],
    }


@pytest.fixture
def run(tiny_model_folder: Path, tmp_path: Path) -> FinishedRun:
    for split, numbers in (("train", range(10)), ("test", range(50))):
        lines = [json.dumps(row(number) | {"id": f"{split}-{number}"}) for number in numbers]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    overrides = ("data.load_module=chat_rows", f"data.dataset_name={tmp_path}", "data.tools_path=null",
                 "data.sysprompt_path=null", "data.train_split=train", "data.eval_split=test",
                 "data.n_tool_sessions_eval=50")  # fmt: skip
    return make_run(tiny_model_folder, tmp_path / "run", *overrides)


def turns_of(cfg: Config) -> Sequence[EvalTurn]:
    return chat_rows.read_turns(cfg)


def test_there_are_fifty_tools_and_three_in_each_session(run: FinishedRun) -> None:
    turns = turns_of(run.cfg)
    assert len({turn.session_id for turn in turns}) == 50
    assert {len(turn.tools) for turn in turns} == {3}
    assert len(unique_tools(one for turn in turns for one in turn.tools)) == N_TOOLS
    assert len({one["function"]["name"] for turn in turns for one in turn.tools}) == N_TOOLS - 4


def test_calls_are_judged_by_the_tools_of_their_own_row(run: FinishedRun, tmp_path: Path) -> None:
    turns = [turn for turn in turns_of(run.cfg) if turn.gold_calls]
    fmt = get_format("hermes")
    right = [fmt.render(turn.gold_calls) for turn in turns]
    foreign = [fmt.render([Call(turns[index - 5].gold_calls[0].name, {"value": 1})]) for index in range(len(turns))]
    typed = [fmt.render([Call(turn.gold_calls[0].name, {"value": ["x"]})]) for turn in turns]
    for texts, exact, unknown, valid in ((right, 1.0, 0.0, 1.0), (foreign, 0.0, None, None), (typed, 0.0, 0.0, 0.0)):
        predictions = [
            make_prediction(turn, text=text, finish_reason="stop", fmt=fmt)
            for turn, text in zip(turns, texts, strict=True)
        ]
        tools = unique_tools(one for turn in turns for one in turn.tools)
        found = score(predictions, tools)
        assert found.metrics["turn_exact"] == exact
        if unknown is not None:
            assert found.metrics["unknown_tool_rate"] == unknown
            assert found.metrics["schema_valid_rate"] == valid
        path = tmp_path / "predictions.jsonl"
        write_predictions(path, predictions, tools, verdicts=found.verdicts)
        stored = read_tools(tmp_path / "tools.json", unique_names=False)
        assert len(stored) == N_TOOLS
        assert score(read_predictions(path), stored).metrics == found.metrics


def test_the_server_computes_the_same_prompts_and_answers(run: FinishedRun, tmp_path: Path) -> None:
    report = tmp_path / "parity.json"
    with serving(load_service(run, plan_serving(run))) as url:
        words = ["--run", str(run.path), "--endpoint", url, "--turns", "100", "--json", str(report)]
        assert parity_script.main([*words, "--model", run.path.name]) == 0
    found = json.loads(report.read_text(encoding="utf-8"))
    assert (found["prompts_agree"], found["answer_agreement"], found["n_compared"]) == (True, 1.0, 100)
