"""A new domain trains at once, passes its own test, and touches nothing that was there before."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.quick import ROOT, quick_overrides
from trainer.commands.main import main
from trainer.commands.new_domain import write_domain
from trainer.config import load_config
from trainer.data.domains import load_domain
from trainer.errors import ConfigError, OutputError
from trainer.eval_metrics import read_predictions
from trainer.training.train import train_run

WRITTEN = (
    "configs/{0}.yaml data/{0}/sysprompt.md data/{0}/test.jsonl data/{0}/tool_calls.json data/{0}/train.jsonl "
    "src/{0}/__init__.py src/{0}/data_prep.py src/{0}/prompt.py tests/test_{0}.py"
)
SPLITS = ("train", "test")
LONGEST = "domain_" + "x" * 33


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in ("insurance_eu2", "test_train_dev"):
            del sys.modules[name]


def files_in(folder: Path) -> list[str]:
    """Return all files of a folder, sorted, without caches."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "cache" not in str(path.relative_to(folder)))
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def run_module(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module in the working directory."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def conversations(split: str) -> list[list[dict[str, object]]]:
    lines = Path("data", "insurance_eu2", f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["conversation"] for line in lines]


# What is written


def test_the_files_the_places_to_edit_and_the_next_commands_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-domain", "insurance_eu2"]) == 0
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert files_in(Path()) == WRITTEN.format("insurance_eu2").split()
    assert set(files_in(Path())) <= set(shown)
    edits = [line.split() for line in shown[shown.index("Edit three places:") + 1 :][:3]]
    for number, (place, *_) in enumerate(edits, start=1):
        path, _, line = place.rpartition(":")
        assert f"# EDIT {number} of 3: " in Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert shown[-3:] == [
        "tool-sft preview --config configs/insurance_eu2.yaml",
        "tool-sft train --config configs/insurance_eu2.yaml",
        "pytest tests/test_insurance_eu2.py",
    ]


def test_into_another_folder_the_paths_and_commands_lead_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-domain", "insurance_eu2", "--into", str(tmp_path / "my work")]) == 0
    shown = capsys.readouterr().out
    assert files_in(Path()) == []
    assert files_in(tmp_path / "my work") == WRITTEN.format("insurance_eu2").split()
    assert f"  {tmp_path}/my work/configs/insurance_eu2.yaml\n" in shown
    assert f"  cd '{tmp_path}/my work'\n" in shown


def test_each_place_is_marked_once_and_no_placeholder_is_left() -> None:
    texts = write_domain("insurance_eu2", Path()).values()
    assert [sum(text.count(f"# EDIT {number} of 3:") for text in texts) for number in (1, 2, 3)] == [1, 1, 1]
    assert not any("NAME" in text for text in texts)


def test_two_domains_live_side_by_side_and_nothing_else_changes() -> None:
    package = ROOT / "src" / "trainer"
    before = {name: (package / name).read_bytes() for name in files_in(package)}
    first = write_domain("insurance_eu2", Path())
    write_domain("library_two", Path())
    assert all(path.read_text(encoding="utf-8") == text for path, text in first.items())
    assert {name: (package / name).read_bytes() for name in files_in(package)} == before


# What it is worth


@pytest.mark.parametrize("name", ["insurance_eu2", "test_train_dev"])  # the second has names of splits in its name
def test_it_trains_and_evaluates(name: str, tiny_model_folder: Path) -> None:
    write_domain(name, Path())
    overrides = [*quick_overrides(tiny_model_folder, Path("run")), "train.max_steps=5", "train.logging_steps=1"]
    cfg = load_config(f"configs/{name}.yaml", overrides)
    result = train_run(cfg)
    lines = Path("run", "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert [step["step"] for step in map(json.loads, lines) if "loss" in step] == [1, 2, 3, 4, 5]
    predictions = read_predictions(result.output_dir / "predictions" / "final.jsonl")
    assert result.states["final"]["n_turns"] == len(predictions) > 0
    turns = load_domain(cfg).read_turns(cfg)
    assert [(turn.session_id, turn.turn) for turn in turns] == [(p.session_id, p.turn) for p in predictions]


def test_all_of_its_data_is_valid_and_short_enough(tiny_model_folder: Path) -> None:
    write_domain("insurance_eu2", Path())
    cfg = load_config("configs/insurance_eu2.yaml", [f"model.base_model_name={tiny_model_folder}"])
    bundle = load_domain(cfg).build_datasets(cfg)
    for report, n_sessions in ((bundle.report.train, 12), (bundle.report.eval, 4)):
        assert (report.n_sessions, report.n_rows, report.n_dropped_sessions) == (n_sessions, n_sessions, 0)
        assert report.oversized == {}
    assert bundle.report.warnings == {}
    longest = max(len(example.target_ids) for example in bundle.tool_eval_examples)
    assert longest < cfg.eval.max_new_tokens_eval
    assert len(bundle.global_tools) == 3


def test_its_conversations_show_every_kind_of_turn() -> None:
    write_domain("insurance_eu2", Path())
    for split in SPLITS:
        messages = [message for conversation in conversations(split) for message in conversation]
        calls = [message.get("tool_calls") for message in messages if message["role"] == "assistant"]
        assert any(isinstance(made, list) and len(made) > 1 for made in calls)
        assert any(made is None for made in calls)
        assert sum("error" in json.loads(str(m["content"])) for m in messages if m["role"] == "tool") == 1


def test_no_user_says_the_same_in_both_splits() -> None:
    write_domain("insurance_eu2", Path())
    said = [
        {message["content"] for talk in conversations(split) for message in talk if message["role"] == "user"}
        for split in SPLITS
    ]
    assert not said[0] & said[1]


def test_the_date_of_the_session_is_in_its_prompt_and_an_application_can_pass_its_own() -> None:
    write_domain("insurance_eu2", Path())
    cfg = load_config("configs/insurance_eu2.yaml")
    domain = load_domain(cfg)
    (first, *_) = [turn for turn in domain.read_turns(cfg) if turn.session_id == "test-01"]
    assert "Current DateTime (Europe/London): Tuesday 2025-03-25 " in first.messages[0]["content"]
    prompt = importlib.import_module("insurance_eu2.prompt")
    now = prompt.build_system_prompt("{{current_datetime}}\n", moment=datetime(2026, 11, 25, 9), timezone="UTC")
    assert now.startswith("Current DateTime (UTC): Wednesday 2026-11-25 09:00; ")


def test_its_own_test_passes() -> None:
    write_domain("insurance_eu2", Path())
    done = run_module("pytest", "tests/test_insurance_eu2.py")
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_in_a_project_like_this_one_the_tests_stay_green(tmp_path: Path) -> None:
    project = tmp_path / "copy"
    for name in ("src", "tests", "scripts", "configs", "data", "docs", "benchmarks"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "*.jsonl"))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, project / name)
    assert main(["new-domain", "toys", "--into", str(project)]) == 0
    words = [
        "pytest",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
        "-k",
        "not light_modules and not re_export and not imports_only",
    ]
    tests = ["tests/test_toys.py", "tests/test_layers.py", "tests/test_shipped_configs.py", "tests/test_readme.py"]
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    done = subprocess.run(
        [sys.executable, "-m", *words, *tests],
        cwd=project, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    passed = subprocess.run(
        [sys.executable, "-c", "import toys, trainer; print(toys.__file__, trainer.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert passed.stdout.count(str(project)) == 2


def test_its_own_test_fails_for_a_call_that_breaks_its_tool() -> None:
    write_domain("insurance_eu2", Path())
    data = Path("data/insurance_eu2/train.jsonl")
    text = data.read_text(encoding="utf-8")
    assert r"\"weeks\": 4" in text
    data.write_text(text.replace(r"\"weeks\": 4", r"\"weeks\": 5"), encoding="utf-8")
    done = run_module("pytest", "tests/test_insurance_eu2.py")
    assert done.returncode == 1
    assert "train.jsonl:12: session train-12: turn 2: extend_loan: " in done.stdout


@pytest.mark.parametrize("name", ["ab", "zoo", LONGEST])  # the order of imports and the length of lines depend on it
def test_its_code_is_clean(name: str) -> None:
    write_domain(name, Path())
    settings = ("--no-cache", "--config", str(ROOT / "pyproject.toml"), "src", "tests")
    for words in (("check",), ("format", "--check")):
        done = run_module("ruff", *words, *settings)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_its_types_are_right() -> None:
    write_domain("insurance_eu2", Path())
    done = run_module(
        "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache"), "src", "tests"
    )
    assert done.returncode == 0, done.stdout
    assert "no issues found in 4 source files" in done.stdout


# What is refused


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Insurance", "'Insurance' cannot be the name of a package; use lower-case letters"),
        ("2nd", "begin with a letter"),
        ("car-sales", "use lower-case letters, digits and _"),
        ("two words", "use lower-case letters, digits and _"),
        ("../up", "use lower-case letters, digits and _"),
        ("a.b", "use lower-case letters, digits and _"),
        ("name\n", "use lower-case letters, digits and _"),
        ("été", "use lower-case letters, digits and _"),
        ("_private", "begin with a letter"),
        ("", "begin with a letter"),
        (LONGEST + "x", f"{LONGEST}x has 41 characters; a name may have 40"),
        ("class", "class is a keyword of Python"),
        ("json", "json is a module of Python's standard library"),
        ("sys", "sys is a module of Python's standard library"),
        ("trainer", "trainer is already a Python package ("),
        ("car_sales", "car_sales is already a Python package ("),
        ("chat_rows", "chat_rows is already a Python package ("),
        ("numpy", "numpy is already a Python package ("),
        ("configs", "configs is a folder that the command writes to"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError):
        write_domain(name, Path())
    assert main(["new-domain", name]) == 2
    told = capsys.readouterr()
    assert reason in told.err
    assert told.out == ""
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("place", ["insurance_eu2/__init__.py", "src/insurance_eu2.py", "insurance_eu2.py"])
def test_a_package_of_one_s_own_is_not_hidden(place: str) -> None:
    Path(place).parent.mkdir(exist_ok=True)
    Path(place).touch()
    with pytest.raises(ConfigError, match="insurance_eu2 is already a Python package"):
        write_domain("insurance_eu2", Path())
    assert files_in(Path()) == [place]


def test_a_folder_without_code_elsewhere_counts_and_one_beside_the_new_files_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packages" / "insurance_eu2").mkdir(parents=True)
    Path("insurance_eu2").mkdir()
    monkeypatch.syspath_prepend(Path.cwd())
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path / "packages")
        with pytest.raises(ConfigError, match="insurance_eu2 is already a Python package"):
            write_domain("insurance_eu2", Path())
    write_domain("insurance_eu2", Path())


def test_every_file_that_exists_is_named_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    kept = ["data/insurance_eu2/test.jsonl", "tests/test_insurance_eu2.py"]
    for name in kept:
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text("mine", encoding="utf-8")
    Path("configs").mkdir()
    Path("configs/insurance_eu2.yaml").symlink_to("nowhere.yaml")
    assert main(["new-domain", "insurance_eu2"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: these files exist; ")
    assert [line.strip() for line in told.splitlines()[1:]] == ["configs/insurance_eu2.yaml", *kept]
    assert files_in(Path()) == kept
    assert {Path(name).read_text(encoding="utf-8") for name in kept} == {"mine"}


def test_a_domain_is_not_written_twice() -> None:
    write_domain("insurance_eu2", Path())
    with pytest.raises(ConfigError, match="these files exist") as caught:
        write_domain("insurance_eu2", Path())
    assert len(str(caught.value).splitlines()) == 1 + len(WRITTEN.split())


@pytest.mark.parametrize("place", [".", "src", "data/insurance_eu2"])
def test_a_file_where_a_folder_belongs_is_refused_before_anything_is_written(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path("there", place)
    file.parent.mkdir(parents=True, exist_ok=True)
    file = file if place != "." else Path("file")
    file.write_text("mine", encoding="utf-8")
    assert main(["new-domain", "insurance_eu2", "--into", "file" if place == "." else "there"]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    assert files_in(Path()) == [file.as_posix()]


def test_a_failure_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("data").mkdir()
    original = Path.open

    def fill_up(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if (path.name, mode) == ("test.jsonl", "x"):
            raise OSError(28, "No space left on device")
        return original(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", fill_up)
    with pytest.raises(OutputError, match=r"test\.jsonl: cannot be written: No space left .*; nothing was written"):
        write_domain("insurance_eu2", Path("deep/er"))
    with pytest.raises(OutputError):
        write_domain("insurance_eu2", Path())
    assert [path.name for path in Path().rglob("*")] == ["data"]
