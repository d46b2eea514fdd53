"""The file with a run's bias is read wherever answers are asked for, and a malformed one is refused."""

import json
from pathlib import Path

import pytest

from trainer.calibration.fit import Decision, fit_bias
from trainer.calibration.record import Calibration, read_call_bias, request_bias, without_curves
from trainer.errors import OutputError
from trainer.run_layout import CALIBRATION_FILE

TURNS = [Decision(f"s{n}", call, 9.0 if call else 3.0) for n in range(8) for call in (True, True, False, False)]


def calibration(turns: list[Decision]) -> Calibration:
    return Calibration((44, 50), ("<", "\n<"), 1.0, fit_bias(turns, tradeoff=1.0))


def test_what_is_written_is_read_as_the_bias_of_a_request(tmp_path: Path) -> None:
    found = calibration(TURNS)
    assert found.fit.bias < 0
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(found.to_json()), encoding="utf-8")
    read = read_call_bias(tmp_path)
    assert read is not None
    assert read.tokens == ("<", "\n<")
    assert read.logit_bias == {"44": found.fit.bias, "50": found.fit.bias}
    assert found.logit_bias == {44: found.fit.bias, 50: found.fit.bias}
    assert request_bias(tmp_path, model="carsales", base="org/base") == read.logit_bias
    assert request_bias(tmp_path, model="org/base", base="org/base") is None


def test_a_bias_that_does_not_help_is_recorded_and_not_sent(tmp_path: Path) -> None:
    found = calibration([turn._replace(margin=9.0 if turn.needs_call else -9.0) for turn in TURNS])
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(found.to_json()), encoding="utf-8")
    assert found.to_json()["note"] == "does not help"
    assert found.logit_bias == {}
    assert read_call_bias(tmp_path) is None


def test_a_run_without_the_file_has_no_bias(tmp_path: Path) -> None:
    assert request_bias(tmp_path, model="carsales", base="org/base") is None


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"bias": 1}', '{"bias": 101, "token_ids": [1], "tokens": ["<"]}',
                '{"bias": 1, "token_ids": [-1], "tokens": ["<"]}'],
)  # fmt: skip
def test_a_malformed_file_is_refused_with_its_name_and_a_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / CALIBRATION_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(OutputError, match=rf"{CALIBRATION_FILE}: cannot be read: .* Remove it"):
        read_call_bias(tmp_path)


def test_metrics_have_the_rates_and_not_the_curves() -> None:
    found = calibration(TURNS)
    record = found.to_json({"n_turns": 3, "curve": [1]})
    kept = without_curves(record)
    assert kept["evaluation"] == {"n_turns": 3}
    assert "curve" not in kept
    assert record["curve"]
    assert without_curves(found.to_json())["evaluation"] is None
