"""The preview of one session, as text."""

from pathlib import Path

import pytest
from preview import main

CONFIG = "configs/car_sales/quickstart.yaml"


def test_a_session_is_shown_with_its_spans_and_its_proof(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", CONFIG, "--row", "1"]) == 0
    shown = capsys.readouterr().out
    assert "verdict            usable" in shown
    assert "session train-0001: 1 row(s)" in shown
    n_spans = shown.count("⟦")
    assert n_spans > 1
    assert n_spans == shown.count("<|im_end|>⟧")
    assert n_spans == shown.count("the prompt equals the serving prompt, the span spells the turn")


def test_a_session_is_found_by_its_id_in_any_split(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", CONFIG, "--split", "test", "--session", "test-0002"]) == 0
    assert "session test-0002: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        (["--session", "nobody"], "has no session 'nobody'; its first ones: train-0000"),
        (["--row", "100000"], "has no row 100000; it has rows 0 to"),
        (["--set", "data.load_module=json"], "has no build_datasets(cfg)"),
    ],
)
def test_what_is_not_there_is_one_message_and_exit_code_2(
    which: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", CONFIG, *which]) == 2
    assert reason in capsys.readouterr().err


def test_a_domain_has_to_say_how_it_reads_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bare_domain.py").write_text("def build_datasets(cfg): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["--config", CONFIG, "--set", "data.load_module=bare_domain"]) == 2
    assert (
        "bare_domain has no open_rows(cfg), and bare_domain.data_prep has no session_to_messages"
        in capsys.readouterr().err
    )
