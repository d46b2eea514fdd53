"""Requests to a run's model carry its bias on calls; those to the base model do not."""

import json
from pathlib import Path
from typing import Any

import bench_serving
import pytest

from tests.support.quick import QUICKSTART
from tests.support.served import answering, options, served_config, turns_of
from tests.support.stub_server import Reply, StubServer, error
from trainer.config import Config
from trainer.errors import OutputError
from trainer.run_layout import CALIBRATION_FILE
from trainer.server_eval.evaluate import evaluate_served
from trainer.server_eval.report import ServedResult

BIAS = {"44": -2.5, "50": -2.5}


def calibrate(folder: Path, bias: float = -2.5) -> None:
    folder.mkdir(exist_ok=True)
    content = {"bias": bias, "token_ids": [44, 50], "tokens": ["<", "\n<"]}
    (folder / CALIBRATION_FILE).write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    return served_config(tmp_path / "run", n_sessions=1)


def evaluate(cfg: Config, server: StubServer, **changes: Any) -> ServedResult:
    return evaluate_served(cfg, options(server, **changes))


def biases(server: StubServer) -> list[Any]:
    return [body.get("logit_bias") for body in server.bodies]


def test_an_evaluation_sends_the_bias_to_the_adapter_and_not_to_the_base_model(cfg: Config) -> None:
    calibrate(cfg.output_dir)
    turns, base = turns_of(cfg), cfg.model.base_model_name
    for asked, expected in (({"model": base, "lora_name": "carsales"}, BIAS), ({"model": base}, None)):
        with StubServer(answering(turns), models=(base, "carsales")) as server:
            result = evaluate(cfg, server, **asked)
        assert biases(server) == [expected] * len(turns)
        request = json.loads((result.output / "request.json").read_text(encoding="utf-8"))
        assert request.get("logit_bias") == expected


def test_a_bias_of_zero_is_not_sent_and_answers_from_before_it_stay_valid(cfg: Config) -> None:
    turns = turns_of(cfg)
    with StubServer(answering(turns)) as server:
        evaluate(cfg, server, model="carsales")
        calibrate(cfg.output_dir, bias=0.0)
        evaluate(cfg, server, model="carsales")
    assert biases(server) == [None] * len(turns)


def test_answers_without_the_bias_are_not_taken_for_answers_with_it(cfg: Config) -> None:
    turns = turns_of(cfg)
    with StubServer(answering(turns)) as server:
        evaluate(cfg, server, model="carsales")
        calibrate(cfg.output_dir)
        with pytest.raises(OutputError, match="logit_bias was None, now"):
            evaluate(cfg, server, model="carsales")


def test_the_command_line_can_take_the_bias_out(cfg: Config) -> None:
    calibrate(cfg.output_dir)
    with StubServer(answering(turns_of(cfg))) as server:
        evaluate(cfg, server, model="carsales", extra_body={"logit_bias": {}})
    assert {json.dumps(bias) for bias in biases(server)} == {"{}"}


def test_a_server_that_refuses_the_bias_is_asked_without_it_and_that_is_recorded(cfg: Config) -> None:
    """As vLLM does if it decodes speculatively."""

    def refuse(body: dict[str, Any]) -> Reply | None:
        said = "The min_p and logit_bias sampling parameters are not yet supported with speculative decoding."
        return error(400, said) if body.get("logit_bias") else None

    calibrate(cfg.output_dir)
    with StubServer(answering(turns_of(cfg)), refuse=refuse) as server:
        result = evaluate(cfg, server, model="carsales")
    metrics = json.loads((result.output / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["server"]["dropped_fields"] == ["logit_bias"]
    assert result.states["lenient"]["n_errors"] == 0


def test_a_damaged_file_is_reported_before_the_first_turn(cfg: Config) -> None:
    cfg.output_dir.mkdir()
    (cfg.output_dir / CALIBRATION_FILE).write_text("{", encoding="utf-8")
    with StubServer(answering(turns_of(cfg))) as server, pytest.raises(OutputError, match=CALIBRATION_FILE):
        evaluate(cfg, server, model="carsales")
    assert not server.bodies


def test_the_load_test_sends_what_applications_send(tmp_path: Path) -> None:
    calibrate(tmp_path)
    with StubServer() as server:
        words = ["--config", str(QUICKSTART), "--set", f"train.output_dir={tmp_path}", "--endpoint", server.url]
        bench_serving.main([*words, "--model", "carsales", "--concurrency", "1", "--turns", "1"])
    assert server.bodies
    assert {json.dumps(bias) for bias in biases(server)} == {json.dumps(BIAS)}
