"""A run folder that cannot be written is refused at the start. Files are written completely or not at all."""

from pathlib import Path

import pytest

from trainer.errors import OutputError
from trainer.training.run_folder import RunFolder
from trainer.training.run_place import claim
from trainer.util.secrets import remember


@pytest.mark.parametrize("resume", [False, True])
def test_a_path_at_or_below_a_file_is_refused(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match=r"train\.output_dir: .*file is a file; name a folder"):
            claim(path, overwrite=True, resume=resume)


def test_a_new_folder_is_claimed_without_creating_it(tmp_path: Path) -> None:
    claim(tmp_path / "runs" / "new", overwrite=False, resume=False)
    assert not list(tmp_path.iterdir())


def test_numbers_that_json_cannot_express_are_null(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, ())
    folder.write_json("metrics.json", {"loss": float("inf"), "n": 1})
    folder.append_history({"step": 1, "loss": float("nan")})
    assert (tmp_path / "metrics.json").read_text(encoding="utf-8") == '{\n  "loss": null,\n  "n": 1\n}\n'
    assert (tmp_path / "history.jsonl").read_text(encoding="utf-8") == '{"step": 1, "loss": null}\n'


def test_the_history_has_no_secrets(tmp_path: Path) -> None:
    remember("planted-token")
    RunFolder(tmp_path, ()).append_history({"step": 1, "note": "planted-token"})
    assert (tmp_path / "history.jsonl").read_text(encoding="utf-8") == '{"step": 1, "note": "***"}\n'
