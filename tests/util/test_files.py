"""A file that cannot be written is told before the work, in the words of the command line."""

from pathlib import Path

import pytest

from trainer.errors import OutputError
from trainer.util.files import claim_file, write_file


def test_a_free_place_is_claimed_without_making_anything(tmp_path: Path) -> None:
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
