"""A served model is scored on every turn exactly once, whatever the server does."""

import dataclasses
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.support.quick import ROOT
from tests.support.served import answering, gold_text, options, served_config, turn_keys, turns_of
from tests.support.stub_server import TRANSIENT, Fault, Reply, StubServer, error, key_of
from trainer.config import Config
from trainer.endpoint import Answer
from trainer.errors import DataError, EndpointError, OutputError
from trainer.eval_metrics import Scores, read_predictions, read_tools, score, write_predictions
from trainer.server_eval.evaluate import evaluate_served
from trainer.server_eval.journal import Journal
from trainer.server_eval.journal import key_of as journal_key
from trainer.server_eval.readings import read_twice
from trainer.server_eval.report import ServedResult
from trainer.tool_calls import get_format
from trainer.types import EvalTurn, Prediction

HERMES = get_format("hermes")


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    return served_config(tmp_path / "run")


def lines_of(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "predictions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def evaluate(cfg: Config, server: StubServer, **changes: Any) -> ServedResult:
    return evaluate_served(cfg, options(server, **changes))


# Faults


def test_no_turn_is_lost_or_asked_twice_by_a_server_that_fails_in_every_way(tmp_path: Path) -> None:
    """200 turns, each with its own fault. Temporary faults are gone at the second attempt."""
    cfg = served_config(tmp_path / "run", n_sessions=20)
    turns = turns_of(cfg)[:200]
    assert len(turns) == 200
    kinds: list[Fault | None] = [None, None, *get_args(Fault)]
    fault_of = {key: kinds[i % len(kinds)] for i, key in enumerate(turn_keys(turns))}
    healed = False

    def plan(body: dict[str, Any], n_before: int) -> Fault | None:
        fault = fault_of[key_of(body)]
        return None if healed or (fault in TRANSIENT and n_before > 0) else fault

    with StubServer(answering(turns), plan=plan) as server:
        first = evaluate(cfg, server, limit=200, settings={"timeout_s": 1.0})
        expected = {key: 2 if fault_of[key] in TRANSIENT else 1 for key in fault_of}
        assert server.requests == expected

        n = Counter(fault_of.values())
        broken: list[Fault] = ["garbage", "truncated_json", "html", "no_choices", "null_message", "unknown_finish"]
        broken += ["calls_missing", "too_long"]
        malformed: list[Fault] = ["bad_arguments", "nameless_call", "calls_not_a_list"]
        for state in (first.states["strict"], first.states["lenient"]):
            assert state["n_turns"] == 200
            assert state["n_errors"] == sum(n[fault] for fault in broken)
            assert state["n_malformed_calls"] == sum(n[fault] for fault in malformed)
            assert state["n_truncated"] == n["length"]
            assert state["turn_exact"] * 200 == n[None] + sum(n[fault] for fault in TRANSIENT)
        rows = lines_of(first.output)
        assert [(row["session_id"], row["turn"]) for row in rows] == [(t.session_id, t.turn) for t in turns]

        # Only the turns with errors are asked again, once, and now every turn has an answer.
        healed = True
        again = evaluate(cfg, server, limit=200)
        errors = {row["turn_key"] for row in _keyed(rows, turns) if row["error"] is not None}
        assert server.requests == {key: times + (key in errors) for key, times in expected.items()}
        assert again.states["strict"]["n_errors"] == 0
        assert again.states["strict"]["n_turns"] == len(lines_of(again.output)) == 200


def _keyed(rows: Sequence[dict[str, Any]], turns: Sequence[EvalTurn]) -> Iterator[dict[str, Any]]:
    for row, key in zip(rows, turn_keys(turns), strict=True):
        yield {**row, "turn_key": key}


def test_gold_answers_score_one(cfg: Config) -> None:
    with StubServer(answering(turns_of(cfg))) as server:
        result = evaluate(cfg, server)
    for state in (result.states["strict"], result.states["lenient"]):
        assert (state["turn_exact"], state["tool_name_f1"], state["n_errors"]) == (1.0, 1.0, 0)
    metrics = json.loads((result.output / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["format_loss"]["n_lost"] == 0
    assert metrics["server"]["prompt_tokens"] == 100 * metrics["strict"]["n_turns"]
    assert set(metrics["server"]["latency_s"]) == {"p50", "p90", "p99"}
    assert result.output == cfg.output_dir / "served" / "base"


def test_every_turn_is_asked_with_its_tools_in_order_and_the_settings_of_the_run(cfg: Config) -> None:
    with StubServer(answering(turns_of(cfg))) as server:
        evaluate(cfg, server, extra_body={"seed": 7})
    by_key = dict(zip(turn_keys(turns_of(cfg)), turns_of(cfg), strict=True))
    assert len(server.bodies) == len(by_key)
    for body in server.bodies:
        assert body["tools"] == list(by_key[key_of(body)].tools)
        assert (body["max_tokens"], body["temperature"], body["seed"]) == (cfg.eval.max_new_tokens_eval, 0.0, 7)
        assert set(body) == {"model", "messages", "tools", "max_tokens", "temperature", "seed"}


def test_a_server_that_answers_nothing_is_reported_and_the_files_are_written(cfg: Config) -> None:
    with (
        StubServer(refuse=lambda body: error(403, "no")) as server,
        pytest.raises(EndpointError, match="no turn was answered: HTTP 403: no"),
    ):
        evaluate(cfg, server)
    folder = cfg.output_dir / "served" / "base"
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["strict"]["n_errors"] == metrics["strict"]["n_turns"] == len(turns_of(cfg))


def test_a_server_without_the_path_is_reported_at_once(cfg: Config) -> None:
    with (
        StubServer(refuse=lambda body: error(404, "Not Found")) as server,
        pytest.raises(EndpointError, match=r"chat/completions: HTTP 404"),
    ):
        evaluate(cfg, server)
    assert server.requests.total() <= 16


def test_half_a_surrogate_pair_in_an_answer_or_an_error_damages_no_file(cfg: Config) -> None:
    turns = turns_of(cfg)

    def refuse(body: dict[str, Any]) -> Reply | None:
        return error(400, "bad \ud800") if key_of(body) == turn_keys(turns)[0] else None

    with StubServer(lambda body: {"content": "half \ud800"}, refuse=refuse) as server:
        result = evaluate(cfg, server)
        again = evaluate(cfg, server)
    assert result.states["strict"]["n_errors"] == again.states["strict"]["n_errors"] == 1
    assert server.requests.total() == len(turns) + 1
    assert lines_of(again.output)[1]["content"] == "half \ud800"


def test_no_turn_to_judge_is_reported(tmp_path: Path) -> None:
    cfg = served_config(tmp_path, "data.n_tool_sessions_eval=0")
    with StubServer() as server, pytest.raises(DataError, match="no turn to judge"):
        evaluate(cfg, server)


# Strict and lenient


def test_calls_that_the_server_left_in_the_text_are_format_loss(cfg: Config) -> None:
    turns = turns_of(cfg)
    with StubServer(answering(turns, gold_text)) as server:
        result = evaluate(cfg, server)
    strict, lenient = result.states["strict"], result.states["lenient"]
    n_calling = sum(bool(turn.gold_calls) for turn in turns)
    assert (strict["missed_call_rate"], strict["tool_name_recall"], strict["hallucination_rate"]) == (1.0, 0.0, 0.0)
    assert (lenient["turn_exact"], lenient["missed_call_rate"]) == (1.0, 0.0)
    metrics = json.loads((result.output / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["format_loss"] == {
        "n_lost": n_calling,
        "n_calling": n_calling,
        "vllm_parser": "hermes",
        "share": 1.0,
    }
    assert any("--tool-call-parser hermes" in note for note in result.notes)


def test_a_failed_turn_is_an_error_in_both_readings(cfg: Config) -> None:
    turn = turns_of(cfg)[0]
    for reading in read_twice(turn, Answer(error="HTTP 500"), HERMES):
        assert (reading.finish_reason, reading.error, reading.calls) == ("error", "HTTP 500", ())


# Models and adapters


def test_the_adapter_is_asked_for_by_its_name(cfg: Config) -> None:
    with StubServer(answering(turns_of(cfg))) as server:
        result = evaluate(cfg, server, lora_name="carsales")
    assert {body["model"] for body in server.bodies} == {"carsales"}
    assert result.output.name == "carsales"


@pytest.mark.parametrize(("model", "lora"), [("truck", None), ("base", "truck"), ("truck", "carsales")])
def test_an_unregistered_name_is_refused_before_the_first_turn(cfg: Config, model: str, lora: str | None) -> None:
    with (
        StubServer() as server,
        pytest.raises(EndpointError, match="truck is not registered; the server has base, car"),
    ):
        evaluate(cfg, server, model=model, lora_name=lora)
    assert not server.bodies
    assert not cfg.output_dir.exists()


# Comparison with the run


def test_the_final_state_is_shown_for_comparison_with_the_share_of_identical_answers(cfg: Config) -> None:
    turns = turns_of(cfg)
    tools = read_tools("data/tool_calls.json")
    final = [read_twice(turn, Answer(**gold_text(turn), finish_reason="stop"), HERMES).lenient for turn in turns]
    final[0] = dataclasses.replace(final[0], content="Something else", calls=())
    scores = score(final, tools)
    cfg.output_dir.mkdir()
    state = json.dumps({"final": scores.to_state()})
    (cfg.output_dir / "metrics.json").write_text(state, encoding="utf-8")
    write_predictions(cfg.output_dir / "predictions" / "final.jsonl", final)
    with StubServer(answering(turns)) as server:
        result = evaluate(cfg, server)
        limited = evaluate(cfg, server, limit=5, output=cfg.output_dir / "limited")
    assert result.states["final, in process"]["turn_exact"] == scores.metrics["turn_exact"]
    metrics = json.loads((result.output / "metrics.json").read_text(encoding="utf-8"))["in_process"]
    assert (metrics["n_paired"], metrics["n_identical"]) == (len(turns), len(turns) - 1)
    assert "final, in process" in (result.output / "report.html").read_text(encoding="utf-8")
    metrics = json.loads((limited.output / "metrics.json").read_text(encoding="utf-8"))["in_process"]
    assert (metrics["n_paired"], metrics["n_identical"], metrics["headline"]["p_value"]) == (5, 4, None)


def write_run_state(cfg: Config, state: str, predictions: Sequence[Prediction]) -> Scores:
    """Write the files that a run leaves for one state."""
    scores = score(predictions, read_tools("data/tool_calls.json"))
    cfg.output_dir.mkdir(exist_ok=True)
    (cfg.output_dir / "metrics.json").write_text(json.dumps({state: scores.to_state()}), encoding="utf-8")
    write_predictions(cfg.output_dir / "predictions" / f"{state}.jsonl", predictions)
    return scores


def gold_predictions(turns: Sequence[EvalTurn]) -> list[Prediction]:
    return [read_twice(turn, Answer(**gold_text(turn), finish_reason="stop"), HERMES).lenient for turn in turns]


def test_the_base_model_is_compared_with_the_base_state(cfg: Config) -> None:
    turns, name = turns_of(cfg), cfg.model.base_model_name
    write_run_state(cfg, "base", gold_predictions(turns))
    with StubServer(answering(turns), models=(name, "carsales")) as server:
        result = evaluate(cfg, server, model=name)
        assert "base, in process" in result.states
        assert f"same answer as the run's base state: {len(turns)} of {len(turns)} turns (100.0%)" in result.notes
        adapted = evaluate(cfg, server, model=name, lora_name="carsales")
    assert set(adapted.states) == {"strict", "lenient"}


def test_damaged_metrics_of_the_run_are_reported_before_the_first_turn(cfg: Config) -> None:
    cfg.output_dir.mkdir()
    (cfg.output_dir / "metrics.json").write_text('{"final": []}', encoding="utf-8")
    with StubServer() as server, pytest.raises(DataError, match=r"metrics\.json: .*final is \[\]; expected an object"):
        evaluate(cfg, server)
    assert not server.bodies


def test_turns_too_long_for_the_run_are_left_out_of_the_comparison_on_both_sides(cfg: Config) -> None:
    turns = turns_of(cfg)
    own = gold_predictions(turns)
    for index in (0, 5):
        own[index] = dataclasses.replace(own[index], calls=(), content="", finish_reason="skipped_for_length")
    scores = write_run_state(cfg, "final", own)
    assert scores.metrics["turn_exact"] == 1.0
    too_long = {turn_keys(turns)[0], turn_keys(turns)[5]}

    def plan(body: dict[str, Any], n_before: int) -> Fault | None:
        return "too_long" if key_of(body) in too_long else None

    with StubServer(answering(turns), plan=plan) as server:
        result = evaluate(cfg, server)
    found = json.loads((result.output / "metrics.json").read_text(encoding="utf-8"))
    assert found["strict"]["n_errors"] == 2
    expected = {"n_paired": len(turns) - 2, "n_identical": len(turns) - 2, "n_skipped": 2, "differs": []}
    assert expected.items() <= found["in_process"].items()
    assert "2 turns are not compared: the run skipped them for their length" in result.notes


# What a server does not accept


def test_what_the_server_does_not_accept_is_in_metrics_and_report(cfg: Config) -> None:
    def refuse(body: dict[str, Any]) -> Reply | None:
        if "tool_choice" not in body:
            return error(400, "requires --enable-auto-tool-choice and --tool-call-parser to be set")
        return error(400, "chat_template_kwargs: extra field") if "chat_template_kwargs" in body else None

    with StubServer(answering(turns_of(cfg), gold_text), refuse=refuse) as server:
        result = evaluate(cfg, server, extra_body={"chat_template_kwargs": {"a": 1}})
    facts = json.loads((result.output / "metrics.json").read_text(encoding="utf-8"))["server"]
    assert (facts["without_parser"], facts["dropped_fields"]) == (True, ["chat_template_kwargs"])
    report = (result.output / "report.html").read_text(encoding="utf-8")
    assert "requests had tool_choice none" in report
    assert "the server refuses chat_template_kwargs" in report


# Resuming


def test_a_finished_evaluation_asks_nothing_again_and_scores_the_same(cfg: Config) -> None:
    with StubServer(answering(turns_of(cfg), gold_text)) as server:
        first = evaluate(cfg, server)
        n_requests = server.requests.total()
        again = evaluate(cfg, server)
    assert server.requests.total() == n_requests
    assert again.states == first.states


def test_a_limited_evaluation_is_extended(cfg: Config) -> None:
    with StubServer(answering(turns_of(cfg))) as server:
        evaluate(cfg, server, limit=7)
        assert server.requests.total() == 7
        result = evaluate(cfg, server)
        assert set(server.requests.values()) == {1}
        assert result.states["strict"]["n_turns"] == len(turns_of(cfg))
        limited = evaluate(cfg, server, limit=3)
    assert limited.states["strict"]["n_turns"] == 3
    assert len(lines_of(limited.output)) == len(turns_of(cfg))
    assert set(server.requests.values()) == {1}


def test_a_half_written_last_line_is_dropped_and_asked_again(cfg: Config) -> None:
    with StubServer(answering(turns_of(cfg))) as server:
        path = evaluate(cfg, server).output / "predictions.jsonl"
        path.write_bytes(path.read_bytes()[:-20])
        result = evaluate(cfg, server)
    assert sorted(server.requests.values())[-2:] == [1, 2]
    assert result.states["strict"]["turn_exact"] == 1.0


def test_another_request_is_refused_with_what_differs(cfg: Config, tmp_path: Path) -> None:
    warmer = served_config(tmp_path / "run", "eval.temperature=0.5")
    with StubServer() as server:
        evaluate(cfg, server)
        before = (cfg.output_dir / "served" / "base" / "predictions.jsonl").read_bytes()
        with pytest.raises(OutputError, match=r"temperature was 0\.0, now 0\.5\); choose another --output"):
            evaluate(warmer, server)
        assert (cfg.output_dir / "served" / "base" / "predictions.jsonl").read_bytes() == before


def test_answers_of_another_server_or_adapter_are_not_reused(cfg: Config) -> None:
    weights = cfg.output_dir / "adapter_model.safetensors"
    cfg.output_dir.mkdir()
    weights.write_bytes(b"one")
    with StubServer() as server:
        evaluate(cfg, server)
        weights.write_bytes(b"two")
        with pytest.raises(OutputError, match="adapter_sha256 was"):
            evaluate(cfg, server)
        weights.write_bytes(b"one")
        with StubServer() as other, pytest.raises(OutputError, match=r"endpoint was 'http://127"):
            evaluate(cfg, other)


def test_the_base_model_s_answers_stay_valid_after_the_training_of_an_adapter(cfg: Config) -> None:
    name = cfg.model.base_model_name
    with StubServer(models=(name,)) as server:
        evaluate(cfg, server, model=name)
        (cfg.output_dir / "adapter_model.safetensors").write_bytes(b"one")
        evaluate(cfg, server, model=name)
        assert set(server.requests.values()) == {1}


@pytest.mark.parametrize("name", ["config.resolved.yaml", "metrics.json", "report.html"])
def test_a_training_run_s_folder_is_refused_as_output(cfg: Config, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / name).write_text("the run's", encoding="utf-8")
    with StubServer() as server, pytest.raises(OutputError, match=f"--output.*{name}"):
        evaluate(cfg, server, output=folder)
    assert [path.name for path in folder.iterdir()] == [name]
    assert (folder / name).read_text(encoding="utf-8") == "the run's"


def test_saved_answers_to_a_turn_with_another_history_are_dropped_and_counted(cfg: Config, tmp_path: Path) -> None:
    one, other = turns_of(cfg)[:2]
    before = dataclasses.replace(one, messages=one.messages[:1])
    answer = Answer("Hi", finish_reason="stop")
    outdated, now, elsewhere = (read_twice(turn, answer, HERMES).strict for turn in (before, one, other))
    with Journal(tmp_path, {}) as journal:
        for reading in (outdated, now, elsewhere):
            journal.add(reading, answer)
        scores = score([now], read_tools("data/tool_calls.json"))
        assert journal.finish([now], [answer], scores.verdicts) == 1
    kept = [(row["turn"], row["context_hash"]) for row in lines_of(tmp_path)]
    assert kept == [(reading.turn, reading.context_hash) for reading in (now, elsewhere)]


def test_predictions_of_something_else_are_never_overwritten(cfg: Config) -> None:
    folder = cfg.output_dir / "served" / "base"
    folder.mkdir(parents=True)
    (folder / "predictions.jsonl").write_text("mine\n", encoding="utf-8")
    with StubServer() as server, pytest.raises(OutputError, match="was not written by an evaluation"):
        evaluate(cfg, server)
    assert (folder / "predictions.jsonl").read_text(encoding="utf-8") == "mine\n"


def test_a_damaged_line_in_the_middle_is_named(cfg: Config) -> None:
    with StubServer() as server:
        path = evaluate(cfg, server).output / "predictions.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([lines[0], b"{}\n", *lines[2:]]))
        with pytest.raises(OutputError, match=r"predictions\.jsonl:2: not a line of this evaluation"):
            evaluate(cfg, server)


def test_two_evaluations_do_not_write_into_one_folder(cfg: Config, tmp_path: Path) -> None:
    with Journal(tmp_path, {}), pytest.raises(OutputError, match="another evaluation"), Journal(tmp_path, {}):
        pass


def test_the_last_of_two_answers_to_a_turn_counts(cfg: Config, tmp_path: Path) -> None:
    turn = turns_of(cfg)[0]
    answers = [Answer("one", finish_reason="stop"), Answer("two", finish_reason="stop"), Answer(error="HTTP 500")]
    with Journal(tmp_path, {}) as journal:
        for answer in answers:
            journal.add(read_twice(turn, answer, HERMES).strict, answer)
    with Journal(tmp_path, {}) as journal:
        assert {key: answer.content for key, answer in journal.answers.items()} == {journal_key(turn): "two"}
    assert len(lines_of(tmp_path)) == 1


def test_saved_predictions_score_as_the_evaluation_did(cfg: Config) -> None:
    with StubServer(answering(turns_of(cfg), gold_text)) as server:
        result = evaluate(cfg, server)
    tools = read_tools(result.output / "tools.json")
    for name, state in (("predictions", "strict"), ("lenient", "lenient")):
        assert score(read_predictions(result.output / f"{name}.jsonl"), tools).to_state() == result.states[state]


# The script


def run_script(cfg: Config, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(cfg, url, *arguments), cwd=ROOT, capture_output=True, text=True, check=False)


def command(cfg: Config, url: str, *arguments: str) -> list[str]:
    sets = [f"train.output_dir={cfg.output_dir}", "data.eval_split=test[:3]", "data.n_tool_sessions_eval=3"]
    config = ["--config", "configs/car_sales/quickstart.yaml", *(part for key in sets for part in ("--set", key))]
    return [sys.executable, "scripts/eval.py", *config, "--endpoint", url, *(arguments or ("--model", "base"))]


def test_the_script_prints_the_table_and_where_the_result_is(cfg: Config) -> None:
    with StubServer(answering(turns_of(cfg), gold_text)) as server:
        done = run_script(cfg, server.url, "--model", "base", "--lora-name", "carsales", "--concurrency", "4")
    assert done.returncode == 0, done.stderr
    for text in ("strict", "lenient", "tool name F1", "--tool-call-parser hermes", f"Result: {cfg.output_dir}"):
        assert text in done.stdout
    assert "turns/s" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "truck"], "truck is not registered"),
        (["--model", "base", "--api-key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE is not set"),
        (["--model", "base", "--concurrency", "0"], "--concurrency"),
        (["--model", "base", "--extra-body", "[1]"], "--extra-body"),
    ],
)
def test_a_mistake_prints_one_message_and_exits_with_2(cfg: Config, arguments: list[str], expected: str) -> None:
    with StubServer() as server:
        done = run_script(cfg, server.url, *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_down_prints_one_message_and_exits_with_2(cfg: Config) -> None:
    with StubServer() as server:
        url = server.url
    done = run_script(cfg, url)
    assert done.returncode == 2
    assert "cannot connect" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_keeps_the_answers_and_says_how_to_continue(cfg: Config) -> None:
    import signal

    turns = turns_of(cfg)
    with StubServer(answering(turns), delay_s=0.3) as server:
        process = subprocess.Popen(
            command(cfg, server.url, "--model", "base", "--concurrency", "4"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # What was started in the background of a shell ignores Ctrl-C, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 90
        while server.requests.total() < 10 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "the same command continues from there" in stderr
        assert "Traceback" not in stderr
        folder = cfg.output_dir / "served" / "base"
        n_kept = len(lines_of(folder))
        assert 6 <= n_kept < len(turns)
        n_asked = server.requests.total()

        server.delay_s = 0.0
        result = evaluate(cfg, server)
    assert result.states["strict"]["turn_exact"] == 1.0
    assert server.requests.total() == n_asked + len(turns) - n_kept


def test_help_is_instant() -> None:
    started = time.monotonic()
    done = subprocess.run([sys.executable, "scripts/eval.py", "--help"], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0
    assert time.monotonic() - started < 2
