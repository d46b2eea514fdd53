"""IN may be a file, a folder or tables; OUT is written whole or not at all, and never over something else."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.support.conversion import convert, row, rows_of, tree, write
from trainer.layouts.project_rows import project_row


def test_a_folder_becomes_a_folder_with_a_file_per_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "in", tmp_path / "new" / "out"
    write(source / "train.jsonl", [row(id="a"), row(id="b")])
    write(source / "test.jsonl", [row(id="c"), 5])
    write(source / "broken.jsonl", [5])
    (source / "tools.json").write_text("{}")
    assert convert(source, out) == 1
    told = capsys.readouterr()
    assert f"Not read in {source}: tools.json" in told.err
    assert f"  1 to {out / 'test.jsonl'}\n  2 to {out / 'train.jsonl'}\n" in told.out
    assert f"  {source / 'test.jsonl'}:2: the row is the number 5" in told.out
    assert {path.name for path in out.iterdir()} == {"train.jsonl", "test.jsonl"}
    assert convert(source, tmp_path / "one.jsonl", "--split", "train[1:]") == 0
    assert [made["session_id"] for made in rows_of(tmp_path / "one.jsonl")] == ["b"]
    assert convert(source, tmp_path / "some", "--split", "test[:1]") == 0
    assert len(rows_of(tmp_path / "some" / "test.jsonl")) == 1


def test_the_splits_of_a_folder_of_tables_are_found(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for split in ("train", "test"):
        datasets.Dataset.from_list([row(id=split)]).to_parquet(source / "data" / f"{split}-00000-of-00001.parquet")
    assert convert(source, out) == 0
    assert [made["session_id"] for made in rows_of(out / "test.jsonl")] == ["test"]
    assert [made["session_id"] for made in rows_of(out / "train.jsonl")] == ["train"]


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_other_types_of_files_are_read(suffix: str, tmp_path: Path) -> None:
    rows = [{"id": n, "messages": json.dumps(row()["messages"])} for n in range(3)]
    source, out = tmp_path / f"in.{suffix}", tmp_path / "out.jsonl"
    if suffix == "json":
        source.write_text(json.dumps(rows))
    else:
        getattr(datasets.Dataset.from_list(rows), f"to_{suffix}")(source)
    assert convert(source, out) == 0
    assert [made["session_id"] for made in rows_of(out)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.jsonl", "out.jsonl"], "none.jsonl does not exist"),
        (["./no/such/place", "out"], "./no/such/place does not exist"),
        (["nobody/nothing", "out"], "nobody/nothing is neither a local path nor a reachable hub dataset"),
        (["in.jsonl", "in.jsonl"], "OUT in.jsonl: is IN"),
        (["in.jsonl", "link.jsonl"], "OUT link.jsonl: is IN"),
        (["in.jsonl", "same.jsonl"], "OUT same.jsonl: is IN"),
        (["in.jsonl", "old.jsonl"], "OUT old.jsonl: exists; name another file, or replace it with --overwrite"),
        (["in.jsonl", "out.json"], "OUT out.json: must end in .jsonl"),
        (["in.jsonl", "folder.jsonl"], "OUT folder.jsonl: is a folder"),
        (["in.jsonl", "pipe.jsonl", "--overwrite"], "OUT pipe.jsonl: is not a regular file"),
        (["folder.jsonl", "folder.jsonl/out"], "OUT folder.jsonl/out: is inside of IN"),
        (["folder.jsonl", "folder.jsonl/sub/../out.jsonl"], "is inside of IN"),
        (["folder.jsonl", ".", "--overwrite"], "OUT .: contains IN"),
        (["folder.jsonl", "old.json"], "OUT old.json: is not a folder"),
        (["folder.jsonl", "mixed", "--overwrite"], "OUT mixed: holds other things than .jsonl files (keep.txt)"),
        (["folder.jsonl", "old"], "OUT old: exists; name another folder, or replace it with --overwrite"),
        (["folder.jsonl", "out.jsonl"], "out.jsonl: one file cannot hold the splits test, train"),
        (["folder.jsonl", "out", "--split", "dev"], "folder.jsonl: has no split 'dev'; it has test, train"),
        (["in.jsonl", "out.jsonl", "--split", "test"], "in.jsonl is one file, which has only the split train"),
        (["empty.jsonl", "out.jsonl"], "empty.jsonl has no rows"),
        (["numbers.jsonl", "out.jsonl"], "numbers.jsonl: none of the first rows is a JSON object"),
        (["odd.jsonl", "out.jsonl"], "or set --layout to the layout that they have"),
        (["in.jsonl", "out.jsonl", "--layout", "opnai"], 'unknown layout "opnai"; did you mean openai?'),
        (["in.jsonl", "out.jsonl", "--layout", '{"name": "openai", "x": "y"}'], 'layout openai has no part "x"'),
        (["in.jsonl", "out.jsonl", "--layout", '{"messages": "y"}'], "has no name"),
        (["in.jsonl", "out.jsonl", "--layout", "{"], "--layout: { is not a mapping"),
        (["in.jsonl", "out.jsonl", "--layout", '{"name": "openai", "messages": 5}'], "the column of messages must be"),
        (["in.jsonl", "out.jsonl", "--tools", "none.json"], "none.json: tool schemas cannot be read"),
        (["in.jsonl", "out.jsonl", "--report", "in.jsonl"], "--report in.jsonl: is IN"),
        (["in.jsonl", "out.jsonl", "--report", "out.jsonl"], "--report out.jsonl: is OUT or in it"),
        (["folder.jsonl", "out", "--report", "out/report.jsonl"], "--report out/report.jsonl: is OUT or in it"),
        (["folder.jsonl", "out", "--report", "folder.jsonl/r.jsonl"], "--report folder.jsonl/r.jsonl: is inside of IN"),
        (["in.jsonl", "out.jsonl", "--report", "old"], "--report old: is a folder"),
    ],
)
def test_a_mistake_is_one_message_exit_code_2_and_changes_nothing(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("in.jsonl"), [row()])
    Path("link.jsonl").symlink_to("in.jsonl")
    Path("same.jsonl").hardlink_to("in.jsonl")
    for name in ("old.jsonl", "old.json", "empty.jsonl"):
        Path(name).touch()
    write(Path("numbers.jsonl"), [1, 2])
    write(Path("odd.jsonl"), [{"a": 1}])
    for split in ("train", "test"):
        write(Path(f"folder.jsonl/{split}.jsonl"), [row(id=split)])
    write(Path("old/train.jsonl"), [row()])
    write(Path("mixed/keep.txt"), ["x"])
    subprocess.run(["mkfifo", "pipe.jsonl"], check=True)
    before = tree(tmp_path)
    assert convert(*words) == 2
    told = capsys.readouterr()
    assert said in told.err.splitlines()[-1]
    assert told.err.count("error: ") == 1
    assert tree(tmp_path) == before


def test_overwriting_replaces_a_file_or_a_folder_whole(tmp_path: Path) -> None:
    source, out = write(tmp_path / "in.jsonl", [row(id="new")]), write(tmp_path / "out.jsonl", ["old"])
    assert convert(source, out, "--overwrite") == 0
    assert [made["session_id"] for made in rows_of(out)] == ["new"]
    folder = tmp_path / "out"
    write(folder / "stale.jsonl", ["old"])
    write(tmp_path / "both" / "train.jsonl", [row(id="new")])
    assert convert(tmp_path / "both", folder, "--overwrite") == 0
    assert [path.name for path in folder.iterdir()] == ["train.jsonl"]
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl", "out", "both"}


def test_nothing_is_written_if_no_row_can_be_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = write(tmp_path / "in.jsonl", [row(id=[1])]), write(tmp_path / "out.jsonl", ["old"])
    assert convert(source, out, "--overwrite", "--report", tmp_path / "report.jsonl") == 1
    assert out.read_text(encoding="utf-8") == "old\n"
    assert "no file is written, because no row could be converted" in capsys.readouterr().out
    assert len(rows_of(tmp_path / "report.jsonl")) == 1


@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_conversion_leaves_everything_as_it_was(
    is_folder: bool, exists: bool, error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in" / "train.jsonl", [row(id=str(n)) for n in range(3)])
    out = tmp_path / "deep" / "new" / ("out" if is_folder else "out.jsonl")
    if exists:
        out.parent.mkdir(parents=True)
        write(out / "train.jsonl" if is_folder else out, ["old"])
    before = tree(tmp_path)
    rows: Iterator[Any] = iter([project_row, project_row])

    def interrupted(conversation: Any) -> Any:
        step = next(rows, None)
        if step is None:
            raise error
        return step(conversation)

    monkeypatch.setattr("trainer.data.conversion.convert.project_row", interrupted)
    words = [source.parent if is_folder else source, out, "--overwrite", "--report", tmp_path / "more" / "report"]
    assert convert(*words) == (130 if error is KeyboardInterrupt else 2)
    assert tree(tmp_path) == before
