"""A run chooses a bias on held-out sessions, is judged with it at the end, and keeps it where requests find it."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainer.calibration import fit
from trainer.calibration.record import Calibration, read_call_bias
from trainer.config import Config, load_config
from trainer.data import DatasetBundle
from trainer.data.domains import domain_datasets
from trainer.run_layout import CALIBRATION_FILE, RunLayout
from trainer.scoring.predictions import read_predictions
from trainer.training import calibrating
from trainer.training import train as train_module
from trainer.training.calibrating import evaluated
from trainer.training.publishing.shared_files import SHARED_FILES
from trainer.training.run_files import written_files
from trainer.training.train import RunResult, train_run
from trainer.types import Call, CallMargins, ToolEvalExample

MakeConfig = Callable[..., Config]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[[Config], RunResult]:
    """Trains with the judged turns of five other sessions as the held-out ones.

    In a random model, an opening is as near in the middle of a call as at its beginning, so that is left out.
    """
    found = fit.decisions
    monkeypatch.setattr(
        calibrating, "decisions", lambda *turns: [turn._replace(stray=-math.inf) for turn in found(*turns)]
    )
    original = domain_datasets

    def with_held_out(domain: Any, cfg: Config) -> DatasetBundle:
        bundle = original(domain, cfg)
        others = load_config(cfg.path or "", ["data.train_split=train[:2]", "data.eval_split=test[2:7]"])
        turns = original(domain, others).tool_eval_examples
        object.__setattr__(bundle, "selection_examples", turns)
        return bundle

    monkeypatch.setattr(train_module, "domain_datasets", with_held_out)
    return train_run


def test_a_model_that_never_calls_learns_where_to(
    train: Callable[[Config], RunResult], quick_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """A tiny random model has no idea; what matters is that everything agrees with everything."""
    with caplog.at_level("INFO"):
        result = train(quick_config("eval.call_tradeoff=0.01"))  # a bias of +10 is cheap
    folder = result.output_dir
    record = read_json(folder / CALIBRATION_FILE)
    assert record["tokens"] == ["<"]
    assert (record["n_sessions"], record["note"]) == (5, "helps")
    assert record["bias"] > 0
    assert record["after"]["missed"] < record["before"]["missed"]
    bias = read_call_bias(folder)
    assert bias is not None
    assert bias.logit_bias == {str(record["token_ids"][0]): record["bias"]}
    metrics = read_json(folder / "metrics.json")
    assert metrics["final"]["call_bias"] == record["bias"]
    assert "call_bias" not in metrics["base"]
    assert metrics["calibration"]["evaluation"]["before"] == record["evaluation"]["before"]
    assert "curve" not in json.dumps(metrics["calibration"])
    assert f"calls get a bias of {record['bias']:+.1f}" in caplog.text
    texts = [p.text for p in read_predictions(RunLayout(folder).predictions("final"))]
    base = [p.text for p in read_predictions(RunLayout(folder).predictions("base"))]
    assert sum("<" in text for text in texts) > sum("<" in text for text in base)
    assert CALIBRATION_FILE in SHARED_FILES
    assert CALIBRATION_FILE in written_files(folder)


def test_the_likelihood_of_the_evaluation_does_not_depend_on_the_bias(
    train: Callable[[Config], RunResult], tiny_model_folder: Path, tmp_path: Path, quick_config: MakeConfig
) -> None:
    with_bias = train(quick_config("eval.call_tradeoff=0.01"))
    other = quick_config(f"train.output_dir={tmp_path / 'other'}", "eval.calibrate_calls=false")
    without = train(other)
    assert with_bias.states["final"]["call_bias"]
    for name in ("loss", "perplexity", "perplexity_call_tokens"):
        assert with_bias.states["final"][name] == without.states["final"][name]
    assert not (without.output_dir / CALIBRATION_FILE).exists()
    assert "calibration" not in read_json(without.output_dir / "metrics.json")
    assert "call_bias" not in without.states["final"]


def test_without_held_out_sessions_nothing_is_calibrated(quick_config: MakeConfig) -> None:
    result = train_run(quick_config())
    assert not (result.output_dir / CALIBRATION_FILE).exists()
    assert read_call_bias(result.output_dir) is None


def test_a_bias_that_does_not_help_is_recorded_and_changes_nothing(
    train: Callable[[Config], RunResult], quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "FEWEST_SESSIONS", 6)
    result = train(quick_config())
    record = read_json(result.output_dir / CALIBRATION_FILE)
    assert (record["bias"], record["note"]) == (0.0, "too few turns")
    assert read_call_bias(result.output_dir) is None
    assert result.states["final"]["call_bias"] == 0.0


def test_what_the_bias_does_to_an_evaluation_is_counted_by_the_margins() -> None:
    turns = [fit.Decision(f"s{n}", call, -2.0 if call else -9.0) for n in range(8) for call in (True, True, False)]
    calibration = Calibration((7,), ("<",), 1.0, fit.fit_bias(turns, tradeoff=1.0))
    assert 2.0 < calibration.fit.bias < 9.0
    gold = ToolEvalExample("s", 0, (), (), "", (Call("f", {}),), (1,), (2,))
    examples = [gold, replace(gold, gold_calls=()), gold]
    evaluation: Any = SimpleNamespace(
        margins=(CallMargins(-2.0), CallMargins(-9.0), None),
        predictions=[SimpleNamespace(calls=(1,)), SimpleNamespace(calls=(1,)), SimpleNamespace(calls=())],
    )
    found = evaluated(calibration, examples, evaluation)
    assert found is not None
    assert found["n_turns"] == 2
    assert found["before"] == {"missed": 1.0, "hallucinated": 0.0}
    assert found["after"] == {"missed": 0.0, "hallucinated": 0.0}
    assert found["agreement"] == 0.5
    nothing: Any = SimpleNamespace(margins=(None,) * 3, predictions=[None] * 3)
    assert evaluated(calibration, examples, nothing) is None
