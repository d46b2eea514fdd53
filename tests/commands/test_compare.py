"""`tool-sft compare`, from the command line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.saved_runs import HALF, NOTHING, PERFECT, TOOLS, save_run, save_served
from trainer.commands.main import main
from trainer.eval_metrics import write_predictions

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def narrow_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def compare(*words: str | Path) -> int:
    return main(["compare", *map(str, words)])


def differences(path: Path) -> list[float]:
    """Return the difference of the headline of each comparison in a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [one["differences"]["turn_exact"]["difference"] for one in content["comparisons"]]


def test_states_runs_served_evaluations_and_files_are_sides(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run", steps={40: HALF})
    served = save_served(tmp_path / "served", HALF)
    write_predictions(tmp_path / "bare.jsonl", HALF)
    states = (f"{run}:base", run, f"{run}:step-40", f"{run}:step-000040")
    assert compare(*states, served, f"{served}:lenient", "bare.jsonl", "--json", "out/all.json") == 0
    assert differences(tmp_path / "out" / "all.json") == [1.0, 0.5, 0.5, 0.5, 1.0, 0.5]


def test_the_text_fits_80_columns_and_cuts_no_name(tmp_path: Path, capsys: Capture) -> None:
    long = "a-session-with-a-long-name-" * 4
    named = [replace(turn, session_id=f"{long}{turn.session_id}") for turn in PERFECT]
    failed = [replace(turn, session_id=f"{long}{turn.session_id}", finish_reason="error") for turn in NOTHING]
    failed[0] = replace(failed[0], finish_reason="stop")
    save_run(tmp_path / "first", base=named, final=named, learning_rate=0.1)
    save_run(tmp_path / "second", base=named, final=failed, learning_rate=0.2)
    assert compare("first", "second") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "missed_call_rate_answered ↓" in out
    assert "-1.000 *" in out
    assert "worse beyond chance" in out
    assert "0 became exact and 10 stopped being exact" in " ".join(out.split())
    assert f"{long}s0000" in "".join(line.split("  ")[0] for line in out.splitlines())
    assert "train.learning_rate  0.1  0.2" in out
    assert "output_dir" not in out


def test_what_only_one_side_was_asked_is_counted(tmp_path: Path, capsys: Capture) -> None:
    save_run(tmp_path / "first")
    save_run(tmp_path / "second", final=[*PERFECT[:7], replace(PERFECT[7], context_hash="other")])
    assert compare("first", "second") == 0
    assert "7 turns compared, 4 left out" in capsys.readouterr().out


def test_other_tool_schemas_are_noted(tmp_path: Path, capsys: Capture) -> None:
    save_run(tmp_path / "first")
    save_run(tmp_path / "second")
    (tmp_path / "second" / "predictions" / "tools.json").write_text(json.dumps(TOOLS[:1]), encoding="utf-8")
    assert compare("first", "second") == 0
    assert "other tool schemas are beside second" in capsys.readouterr().out


def test_control_characters_and_markup_are_shown_as_they_are(tmp_path: Path, capsys: Capture) -> None:
    odd = [replace(turn, session_id=f"[red]\x1b[31m{turn.session_id}") for turn in PERFECT]
    bad = [replace(turn, session_id=f"[red]\x1b[31m{turn.session_id}") for turn in NOTHING]
    save_run(tmp_path / "run", base=bad, final=odd)
    assert compare("run:base", "run") == 0
    out = capsys.readouterr().out
    assert "[red]\\x1b[31ms0000" in out
    assert "\x1b[31m" not in out


def test_the_page_has_differences_curves_settings_and_flipped_turns(tmp_path: Path) -> None:
    odd = [replace(turn, session_id=f"<b>{turn.session_id}", text="<script>alert(1)</script>") for turn in PERFECT]
    bad = [replace(turn, session_id=f"<b>{turn.session_id}", content="<script>alert(1)</script>") for turn in NOTHING]
    save_run(tmp_path / "first", base=bad, final=[bad[0], *odd[1:]], learning_rate=0.1)
    save_run(tmp_path / "second", base=bad, final=[odd[0], *bad[1:]], learning_rate=0.2)
    assert compare("first", "second", "--html", "out/page.html") == 0
    page = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    assert "B minus A" in page
    assert "-0.800 worse" in page
    assert page.count("▼ lost</span>") == 9
    assert page.index("▼ lost</span>") < page.index("▲ gained</span>")
    assert "Training loss" in page
    assert page.count('<polyline class="line') == 4  # two curves of two runs
    assert "train.learning_rate" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "<b>s0" not in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "missing"], "missing: no such file or folder"),
        (["run", "run:step-7"], "run: has no evaluation 'step-7'; it has base, final (name one as run:base)"),
        (["run", "run:../../x"], "run: has no evaluation '../../x'"),
        (["run", "served:final"], "served: has no reading 'final'; a served evaluation has strict, lenient"),
        (["run", "stopped"], "this run is not finished; its evaluations so far are in stopped/unfinished"),
        (["run", "empty"], "empty: neither a run nor a served evaluation"),
        (["run", "other"], "run and other: nothing to compare: no turn is in both"),
        (["empty.jsonl", "run"], "empty.jsonl: holds no predictions"),
        (["bare.jsonl", "bare.jsonl"], "bare.jsonl: no tool schemas beside the predictions; name them with --tools"),
        (["run", "run", "--json", "empty"], "--json empty: is a folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, capsys: Capture, words: list[str], message: str) -> None:
    save_run(tmp_path / "run")
    save_run(tmp_path / "other", final=[replace(turn, session_id=f"x{turn.session_id}") for turn in PERFECT])
    save_run(tmp_path / "stopped" / "unfinished", finished=False)
    save_served(tmp_path / "served", HALF)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.jsonl").write_text("\n")
    write_predictions(tmp_path / "x.jsonl", HALF)
    write_predictions(tmp_path / "bare.jsonl", HALF)
    assert compare(*words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_one_side_is_too_few(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        compare("run")
    assert stopped.value.code == 2
    assert "name two sides or more" in capsys.readouterr().err
