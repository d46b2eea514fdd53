"""Fifty tools over rows of three each: judged by the row's own tools, kept on disk, and served as trained."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import parity as parity_script
import pytest

import chat_rows
from tests.support.tiny_runs import make_run, serving
from trainer.config import Config
from trainer.endpoint import EndpointSettings
from trainer.eval_metrics import make_prediction, read_predictions, read_tools, score
from trainer.scoring.predictions import write_predictions
from trainer.server_eval.evaluate import ServedOptions, evaluate_served
from trainer.serving.local.service import load_service
from trainer.serving.plan import plan_serving
from trainer.tool_calls import get_format
from trainer.tools.wire import tool_hash, unique_tools
from trainer.training.finished_run import FinishedRun, read_run
from trainer.training.train import train_run
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
def overrides(tmp_path: Path) -> tuple[str, ...]:
    """Write the rows of both splits; return what a configuration needs to read them."""
    for split, numbers in (("train", range(10)), ("test", range(50))):
        lines = [json.dumps(row(number) | {"id": f"{split}-{number}"}) for number in numbers]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return ("data.load_module=chat_rows", f"data.dataset_name={tmp_path}", "data.tools_path=null",
            "data.sysprompt_path=null", "data.train_split=train", "data.eval_split=test",
            "data.n_tool_sessions_eval=50")  # fmt: skip


@pytest.fixture
def run(tiny_model_folder: Path, tmp_path: Path, overrides: Sequence[str]) -> FinishedRun:
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
    foreign = [fmt.render([Call(name_of_another_row(turn), {"value": 1})]) for turn in turns]
    typed = [fmt.render([Call(turn.gold_calls[0].name, {"value": ["x"]})]) for turn in turns]
    empty = [fmt.render([Call(turn.gold_calls[0].name, {})]) for turn in turns]
    n = len(turns)
    for texts, exact, unknown, valid, n_typed, n_missing in (
        (right, 1.0, 0.0, 1.0, 0, 0), (foreign, 0.0, 1.0, None, 0, 0), (typed, 0.0, 0.0, 0.0, n, 0),
        (empty, 0.0, 0.0, 0.0, 0, n),
    ):  # fmt: skip
        predictions = [
            make_prediction(turn, text=text, finish_reason="stop", fmt=fmt)
            for turn, text in zip(turns, texts, strict=True)
        ]
        tools = unique_tools(one for turn in turns for one in turn.tools)
        found = score(predictions, tools)
        assert found.metrics["turn_exact"] == exact
        assert found.metrics["unknown_tool_rate"] == unknown
        assert found.metrics["schema_valid_rate"] == valid
        assert found.metrics["n_schema_wrong_type"] == n_typed
        assert found.metrics["n_schema_missing_required"] == n_missing
        path = tmp_path / "predictions.jsonl"
        write_predictions(path, predictions, tools, verdicts=found.verdicts)
        stored = read_tools(tmp_path / "tools.json", unique_names=False)
        assert len(stored) == N_TOOLS
        assert score(read_predictions(path), stored).metrics == found.metrics


def name_of_another_row(turn: EvalTurn) -> str:
    own = {one["function"]["name"] for one in turn.tools}
    return next(f"tool_{number}" for number in range(1, N_TOOLS) if number % 10 and f"tool_{number}" not in own)


def test_tools_of_one_name_are_judged_by_the_schema_of_the_row(run: FinishedRun) -> None:
    turns = [turn for turn in turns_of(run.cfg) if turn.gold_calls and turn.gold_calls[0].name == "shared"]
    kinds = [shared_kind(turn) for turn in turns]
    assert len(turns) == N_TOOLS // 10
    assert len(set(kinds)) == 2
    fmt = get_format("hermes")
    text = fmt.render([Call("shared", {"value": KINDS[kinds[0]]})])
    predictions = [make_prediction(turn, text=text, finish_reason="stop", fmt=fmt) for turn in turns]
    found = score(predictions, unique_tools(one for turn in turns for one in turn.tools))
    right = [kind == kinds[0] for kind in kinds]
    assert [verdict.exact for verdict in found.verdicts] == right
    assert found.metrics["n_schema_wrong_type"] == right.count(False)


def shared_kind(turn: EvalTurn) -> str:
    (found,) = [one["function"] for one in turn.tools if one["function"]["name"] == "shared"]
    kind: str = found["parameters"]["properties"]["value"]["type"]
    return kind


def test_a_trained_run_its_predictions_and_its_server_have_the_same_metrics(
    quick_config: Callable[..., Config], overrides: Sequence[str]
) -> None:
    cfg = quick_config(*overrides)
    final = train_run(cfg).states["final"]
    predictions = read_predictions(cfg.output_dir / "predictions" / "final.jsonl")
    stored = read_tools(cfg.output_dir / "predictions" / "tools.json", unique_names=False)
    assert sorted(map(tool_hash, stored)) == sorted({tool_hash(tool(number)) for number in range(N_TOOLS)})
    assert {len(one.tool_hashes) for one in predictions} == {3}
    again = score(predictions, stored).metrics
    assert {key: final[key] for key in again} == again

    run = read_run(cfg.output_dir)
    with serving(load_service(run, plan_serving(run))) as url:
        served = evaluate_served(cfg, ServedOptions(EndpointSettings(url), run.path.name))
    assert {key: served.states["lenient"][key] for key in again} == again
    agreed = json.loads((served.output / "metrics.json").read_text(encoding="utf-8"))["in_process"]
    assert (agreed["n_paired"], agreed["n_identical"], agreed["differs"]) == (100, 100, [])


def test_the_server_computes_the_same_prompts_and_answers(run: FinishedRun, tmp_path: Path) -> None:
    report = tmp_path / "parity.json"
    with serving(load_service(run, plan_serving(run))) as url:
        words = ["--run", str(run.path), "--endpoint", url, "--turns", "100", "--json", str(report)]
        assert parity_script.main([*words, "--model", run.path.name]) == 0
    found = json.loads(report.read_text(encoding="utf-8"))
    assert (found["prompts_agree"], found["answer_agreement"], found["n_compared"]) == (True, 1.0, 100)
