"""A base model that has moved is named with --base, and the error of a missing one says so."""

import json
from pathlib import Path

import pytest

from tests.support.tiny_runs import make_run
from trainer.commands.main import main
from trainer.errors import ModelError
from trainer.serving.merge import merge_run
from trainer.serving.parity_run import check_parity
from trainer.serving.plan import plan_serving
from trainer.serving.served_class import refuse_other_class
from trainer.training.finished_run import FinishedRun, read_run
from trainer.training.load_run import load_adapted


@pytest.fixture
def moved(tiny_model_folder: Path, tmp_path: Path) -> tuple[Path, Path, str]:
    """Return the folder of a run, where its base model is now, and where it was."""
    run = make_run(tiny_model_folder, tmp_path / "run").path
    now = tmp_path / "elsewhere" / "models" / "tiny"
    now.parent.mkdir(parents=True)
    tiny_model_folder.rename(now)
    return run, now, str(tiny_model_folder)


def test_a_run_is_served_and_loaded_from_the_new_place_under_the_old_name(moved: tuple[Path, Path, str]) -> None:
    folder, now, old = moved
    run = read_run(folder, base=str(now))
    plan = plan_serving(run)
    assert plan.model == str(now)
    assert plan.names == ("run", old)
    assert load_adapted(run).active_adapter == "default"
    refuse_other_class(run)


def test_commands_take_the_new_place(
    moved: tuple[Path, Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, now, old = moved
    assert main(["serve", "--run", str(folder), "--print", "--base", str(now)]) == 0
    assert f"serve {now}" in capsys.readouterr().out
    output = tmp_path / "merged"
    assert main(["merge", "--run", str(folder), "--output", str(output), "--base", str(now), "--sessions", "1"]) == 0
    assert json.loads((output / "merge.json").read_text(encoding="utf-8"))["base_model"] == old


@pytest.mark.parametrize("command", ["serve", "merge"])
def test_the_error_of_a_missing_base_model_names_the_option(
    command: str, moved: tuple[Path, Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, old = moved
    more = ["--print"] if command == "serve" else ["--output", str(tmp_path / "merged")]
    assert main([command, "--run", str(folder), *more]) == 2
    told = capsys.readouterr().err
    assert f"{old} does not exist" in told
    assert "name its place with --base PATH_OR_ID" in told
    assert main([command, "--run", str(folder), *more, "--base", "/no/such/folder"]) == 2
    assert "error: --base: /no/such/folder does not exist" in capsys.readouterr().err


def test_every_use_of_the_base_model_names_the_option(
    moved: tuple[Path, Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def offered(*args: object) -> None:
        return None

    monkeypatch.setattr("trainer.serving.parity_run.require_models", offered)
    run = read_run(moved[0])

    def parity(run: FinishedRun) -> object:
        return check_parity(run, None, model="run", n_turns=1)  # type: ignore[arg-type]

    for use in (plan_serving, load_adapted, refuse_other_class, parity, lambda run: merge_run(run, tmp_path / "m")):
        with pytest.raises(ModelError, match="--base PATH_OR_ID"):
            use(run)


def test_parity_takes_the_option_for_a_run_only(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["parity", "--config", "x.yaml", "--endpoint", "http://h:1", "--model", "m", "--base", "b"]
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "--base needs --run" in capsys.readouterr().err
