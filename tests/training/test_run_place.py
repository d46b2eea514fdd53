"""A finished run takes the place of an earlier one, and nothing that no run wrote is touched."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.quick import ROOT
from trainer.config import Config
from trainer.errors import OutputError
from trainer.training import run_files, run_place
from trainer.training.run_place import check_inputs, claim, has_unfinished, open_place, settle, take_place

MakeConfig = Callable[..., Config]
KEPT = {
    "photo.jpg": "photo",
    "served/base/report.html": "served",
    "predictions/notes.txt": "notes",
    "base/model.bin": "base",
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def content(folder: Path) -> dict[str, str]:
    """Return the files of a folder and their text, without the list and the lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def run_of(mark: str, *more: str) -> dict[str, str]:
    names = (
        "config.resolved.yaml",
        "adapter_model.safetensors",
        "predictions/final.jsonl",
        "checkpoint-4/optimizer.pt",
    )
    return dict.fromkeys((*names, *more), mark)


def finish(folder: Path, files: dict[str, str]) -> None:
    with open_place(folder, resume=False) as unfinished:
        write(unfinished, files)
        take_place(folder)


def test_a_second_run_replaces_the_first_and_keeps_the_rest(tmp_path: Path) -> None:
    finish(tmp_path, run_of("first", "report.html"))
    write(tmp_path, KEPT)
    with open_place(tmp_path, resume=False) as unfinished:
        write(unfinished, run_of("second", "history.jsonl"))
        assert content(tmp_path).items() >= run_of("first", "report.html").items()  # until the second one is finished
        take_place(tmp_path)
    assert content(tmp_path) == run_of("second", "history.jsonl") | KEPT
    assert not has_unfinished(tmp_path)


def test_a_file_in_the_way_that_no_run_wrote_is_kept_under_another_name(tmp_path: Path) -> None:
    finish(tmp_path, run_of("first"))
    write(tmp_path, {"README.md": "mine"})
    finish(tmp_path, run_of("second", "README.md"))
    assert content(tmp_path) == run_of("second", "README.md") | {"README.md.1": "mine"}


class Killed(BaseException):
    """A kill at one moment."""


@pytest.mark.parametrize("moment", range(16))
def test_the_change_is_completed_after_an_interruption_at_any_moment(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(tmp_path, run_of("first", "report.html"))
    write(tmp_path, KEPT)
    count = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count > moment:
                raise Killed
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch, open_place(tmp_path, resume=False) as unfinished:
        write(unfinished, run_of("second"))
        for name in ("unlink", "replace", "rmdir"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        patch.setattr(run_place, "list_files", counted(run_files.list_files))
        with suppress(Killed):
            take_place(tmp_path)
    if moment < 2:  # the list of the second run was not written, so it is not finished
        assert content(tmp_path).items() >= (run_of("first", "report.html") | KEPT).items()
        return
    with open_place(tmp_path, resume=True):
        settle(tmp_path)
    assert content(tmp_path) == run_of("second") | KEPT


def test_an_unfinished_run_is_refused_unless_it_may_be_overwritten(tmp_path: Path) -> None:
    with open_place(tmp_path, resume=False) as unfinished:
        write(unfinished, run_of("half"))
    with pytest.raises(OutputError, match="unfinished run; go on with it by --resume"):
        claim(tmp_path, overwrite=False, resume=False)
    claim(tmp_path, overwrite=True, resume=False)
    write(tmp_path, {"unfinished/mine.txt": "mine"})
    finish(tmp_path, run_of("new"))
    assert content(tmp_path) == run_of("new") | {"mine.txt": "mine"}


def test_two_runs_never_write_into_one_folder(tmp_path: Path) -> None:
    with open_place(tmp_path, resume=False):
        with pytest.raises(OutputError, match="another run is writing into"):
            claim(tmp_path, overwrite=True, resume=False)
        with pytest.raises(OutputError, match="another run is writing into"), open_place(tmp_path, resume=False):
            pass
    claim(tmp_path, overwrite=True, resume=False)


@pytest.mark.parametrize(
    ("key", "inside"),
    [
        ("model.base_model_name", ""),
        ("data.tokenizer", ""),
        ("data.dataset_name", "checkpoint-4"),
        ("data.tools_path", "predictions/final.jsonl"),
        ("data.sysprompt_path", "unfinished/prompt.md"),
        ("train.resume_from_checkpoint", "checkpoint-4"),
    ],
)
def test_what_a_run_reads_is_never_in_its_way(key: str, inside: str, quick_config: MakeConfig, tmp_path: Path) -> None:
    out = tmp_path / "run"
    finish(out, run_of("first"))
    write(out, {"unfinished/prompt.md": "", "prompts/mine.md": ""})
    with pytest.raises(OutputError, match=key.replace(".", r"\.")):
        check_inputs(quick_config(f"{key}={out / inside}"), resume=False)
    check_inputs(quick_config(f"data.sysprompt_path={out / 'prompts' / 'mine.md'}"), resume=False)
    check_inputs(quick_config(f"data.dataset_name={ROOT / 'data' / 'car_sales'}"), resume=False)
