"""A file is written whole or not at all, and one that cannot be written is reported before the work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.errors import OutputError
from trainer.util.files import claim_file, claim_folder, remove_partial, replace_file, replace_json, write_file


def test_a_free_place_is_claimed_without_creating_anything(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out.json"
    claim_file(path, option="--json")
    claim_file(None, option="--json")
    assert not (tmp_path / "a").exists()
    write_file(path, "x", option="--json")
    claim_file(path, option="--json")
    assert path.read_text(encoding="utf-8") == "x"


def test_a_folder_and_a_place_below_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"--json .*is a folder"):
        claim_file(tmp_path, option="--json")
    with pytest.raises(OutputError, match=r"--report: .*file is a file"):
        claim_file(tmp_path / "file" / "x" / "out.html", option="--report")
    with pytest.raises(OutputError, match=r"--json .*cannot be written"):
        write_file(tmp_path / "file" / "out.json", "x", option="--json")


def test_a_place_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out.json").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as a user who may write anywhere
    with pytest.raises(OutputError, match=r"--json .*out\.json: cannot be written \(permission denied\)"):
        claim_file(tmp_path / "out.json", option="--json")
    with pytest.raises(OutputError, match=r"--output: .* cannot be written \(permission denied\)"):
        claim_folder(tmp_path / "new" / "deep", option="--output")


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_file(path, "old", option="--json")
    with pytest.raises(UnicodeEncodeError):
        write_file(path, "half \ud800", option="--json")
    with pytest.raises(ValueError, match="JSON compliant"):
        replace_json(path, {"loss": float("nan")})
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_write_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    code = "import os, sys; from trainer.util import files; files.os.fsync = lambda _: os._exit(9)\n"
    code += "from pathlib import Path; files.replace_file(Path(sys.argv[1]), 'text')"
    others = [tmp_path / name for name in (".lock", ".gitignore", "a.jsonl", ".env.backup01x", ".tools.json.LICENSES")]
    for path in (tmp_path / "in" / "tools.json", tmp_path / "in" / "metrics.json", *others):
        path.parent.mkdir(exist_ok=True)
        path.write_text("kept", encoding="utf-8")
    for name in ("tools.json", "metrics.json"):
        assert subprocess.run([sys.executable, "-c", code, tmp_path / "in" / name], check=False).returncode == 9
    assert len(list((tmp_path / "in").iterdir())) == 4
    remove_partial((tmp_path / "in").glob(".tools.json.*"))
    assert len(list((tmp_path / "in").iterdir())) == 3
    remove_partial(list(tmp_path.rglob(".*")))
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"tools.json", "metrics.json"}
    assert all(path.exists() for path in others)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    (tmp_path / "real").mkdir()
    link.symlink_to(tmp_path / "real" / "out.json")
    replace_file(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "real" / "out.json").read_text(encoding="utf-8") == "new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_file(pipe, "text", option="--json")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


def test_json_is_indented_and_keeps_letters(tmp_path: Path) -> None:
    replace_json(tmp_path / "a.json", {"name": "Grüezi"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "name": "Grüezi"\n}\n'
