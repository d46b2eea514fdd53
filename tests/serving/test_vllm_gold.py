"""The gold turns of a run are checked with the parser that vLLM will use."""

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.tiny_runs import make_run
from trainer.errors import EndpointError
from trainer.scoring.predictions import make_prediction, write_predictions
from trainer.serving import gold_check
from trainer.serving.gold_check import GoldTurn, gold_turns, parser_note, vllm_python
from trainer.serving.plan import ServePlan, plan_serving
from trainer.serving.vllm import find_vllm, write_serving_files
from trainer.serving.vllm_parser.replay import Received
from trainer.tool_calls import get_format
from trainer.tool_calls.served import ServedCall, served_call
from trainer.tools.wire import rendered_tool
from trainer.training.finished_run import FinishedRun
from trainer.types import Call, EvalTurn

PARAMETERS = {"type": "object", "properties": {"make": {"type": "string"}, "n_seats": {"type": "integer"}}}
TOOL = rendered_tool(
    {"type": "function", "function": {"name": "find_car", "description": "Find.", "parameters": PARAMETERS}}, where="t"
).tool
GOLD = (
    ("", (Call("find_car", {"make": 'Škoda "RS"', "n_seats": 5}), Call("find_car", {}))),
    ("Which make would you like?", ()),
    ("", (Call("find_car", {"make": "</tool_call>"}),)),
)


@pytest.fixture
def run(tiny_model_folder: Path, tmp_path: Path) -> FinishedRun:
    """Return a run that has judged the turns of `GOLD`."""
    run = make_run(tiny_model_folder, tmp_path / "carsales")
    predictions = [
        make_prediction(
            EvalTurn("s", n, ({"role": "user", "content": "Hi"},), (TOOL,), content, calls),
            "",
            fmt=get_format("hermes"),
            finish_reason="stop",
        )
        for n, (content, calls) in enumerate(GOLD)
    ]
    write_predictions(run.path / "predictions" / "final.jsonl", predictions, [TOOL])
    return run


def received(plan: ServePlan, turn: GoldTurn) -> Received:
    parsed = plan.chat.fmt.parse(turn.text, tools=turn.tools)
    return Received(parsed.content, tuple(map(served_call, parsed.calls)))


def note(
    plan: ServePlan, run: FinishedRun, monkeypatch: pytest.MonkeyPatch, *, changed: Sequence[Received] = ()
) -> str | None:
    """Return the note if vLLM answers with these instead of the first turns."""

    def ask(plan: ServePlan, turns: Sequence[GoldTurn], **_: object) -> list[tuple[Received, ...]]:
        right = [received(plan, turn) for turn in turns]
        return [(one, other) for one, other in zip(right, [*changed, *right[len(changed) :]], strict=True)]

    monkeypatch.setattr(gold_check, "_ask", ask)
    return parser_note(plan, run.path, files=Path("files"), python=Path("python"))


def test_the_gold_turns_are_those_that_the_template_writes(run: FinishedRun) -> None:
    turns = gold_turns(plan_serving(run), run.path)
    assert [len(turn.calls) for turn in turns] == [2, 1, 0]
    assert turns[0].text.startswith("<tool_call>")
    assert turns[2].text == GOLD[1][0]
    assert all(turn.tools == (TOOL,) for turn in turns)


def test_a_run_without_predictions_has_nothing_to_check(run: FinishedRun) -> None:
    (run.path / "predictions" / "final.jsonl").unlink()
    assert gold_turns(plan_serving(run), run.path) == []
    assert parser_note(plan_serving(run), run.path, files=Path("files"), python=Path("python")) is None


def test_unchanged_turns_are_counted(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    found = note(plan_serving(run), run, monkeypatch)
    assert found == "all 3 gold turns of this run come back unchanged from the tool-call parser tool_sft_hermes"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (Received("", ()), "2 calls become 0"),
        (Received("", (ServedCall("find_car", '{"make": "Skoda"}'), ServedCall("find_car", "{}"))), "becomes find_car"),
        (Received("", (ServedCall("find_car", "{"), ServedCall("find_car", "{}"))), "becomes find_car({)"),
        (
            Received(
                "", (ServedCall("find", '{"make": "Škoda \\"RS\\"", "n_seats": 5}'), ServedCall("find_car", "{}"))
            ),
            "becomes find(",
        ),
        (Received("", (), "KeyError: 'x'"), "fails with KeyError"),
    ],
)
def test_a_changed_turn_is_shown(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch, changed: Received, said: str
) -> None:
    plan = plan_serving(run, with_vllm_parser=True)
    found = note(plan, run, monkeypatch, changed=[changed]) or ""
    assert found.startswith("1 of 3 gold turns come back changed from the parser hermes: ")
    assert said in found
    assert "--vllm-parser" in found


def test_text_that_is_lost_is_shown(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_serving(run)
    right = [received(plan, turn) for turn in gold_turns(plan, run.path)]
    found = note(plan, run, monkeypatch, changed=[*right[:2], right[2]._replace(content="Which")])
    assert "'Which make would you like?' becomes 'Which'" in (found or "")


def test_a_check_that_fails_is_a_note(run: FinishedRun, tmp_path: Path) -> None:
    plan = plan_serving(run)
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'no module named vllm' >&2\nexit 1\n")
    program.chmod(0o755)
    found = parser_note(plan, run.path, files=write_serving_files(plan), python=program) or ""
    assert found.startswith("the gold turns could not be checked")
    assert "no module named vllm" in found


def test_without_vllm_the_table_warns_of_its_own_parser(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gold_check, "known_loss", lambda fmt: f"{fmt.name} loses calls")
    own = plan_serving(run, with_vllm_parser=True)
    assert parser_note(own, run.path, files=Path("files"), python=None) == "hermes loses calls"
    assert parser_note(plan_serving(run), run.path, files=Path("files"), python=None) is None
    none = dataclasses.replace(own, chat=dataclasses.replace(own.chat, fmt=get_format("llama3_json")))
    assert parser_note(none, run.path, files=Path("files"), python=None) is None


def test_the_python_of_vllm_is_beside_the_program_or_in_its_first_line(tmp_path: Path) -> None:
    program = tmp_path / "vllm"
    program.write_text(f"#!{sys.executable}\n")
    assert vllm_python(str(program)) == Path(sys.executable)
    program.write_text("#!/bin/sh\n")
    assert vllm_python(str(program)) is None
    (tmp_path / "python").touch()
    assert vllm_python(str(program)) == tmp_path / "python"


@pytest.mark.slow
@pytest.mark.skipif("VLLM" not in os.environ, reason="VLLM names no vllm program")
@pytest.mark.parametrize("with_vllm_parser", [False, True])
def test_vllm_itself_reads_the_gold_turns(run: FinishedRun, with_vllm_parser: bool) -> None:
    try:
        python = vllm_python(find_vllm(os.environ["VLLM"]))
    except EndpointError as error:
        pytest.skip(str(error))
    plan = plan_serving(run, with_vllm_parser=with_vllm_parser)
    found = parser_note(plan, run.path, files=write_serving_files(plan), python=python) or ""
    if with_vllm_parser:
        assert found.startswith("1 of 3 gold turns come back changed from the parser hermes")
        assert json.dumps({"make": "</tool_call>"})[1:-1] in found
    else:
        assert found.startswith("all 3 gold turns")
