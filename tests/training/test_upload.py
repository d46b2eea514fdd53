"""An upload has exactly the allowed files, is private by default, and never loses a run."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.tiny_runs import make_run
from tests.support.uploads import ReceivedUploads
from trainer.commands.main import main
from trainer.config import Config, load_config
from trainer.errors import ConfigError, EndpointError, OutputError
from trainer.training.publishing.upload import Target, push_run, upload_target
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]
PUSH = ("train.push_to_hub=true", "train.hub_model_id=me/adapter")
SAVE = ("train.save_strategy=steps", "train.save_steps=1")
ALLOWED = {
    "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja", "README.md", "metrics.json",
}  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> ReceivedUploads:
    """Return a hub that takes every upload."""
    return ReceivedUploads().install(monkeypatch)


@pytest.fixture
def run_folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """Return a finished run with metrics, and with files that must stay."""
    folder = make_run(tiny_model_folder, tmp_path / "run").path
    (folder / "metrics.json").write_text('{"final": {"n_turns": 3, "turn_exact": 0.5}}', encoding="utf-8")
    for name in (
        "notes.txt",
        "training_args.bin",
        "served/base/report.html",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine", encoding="utf-8")
    for name in ("predictions/final.jsonl", "history.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_training_uploads_exactly_the_allowed_files_to_a_private_repository(
    quick_config: MakeConfig, hub: ReceivedUploads, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, "trainer")
    result = train_run(
        quick_config(*PUSH, "train.save_strategy=steps", "train.save_steps=1", "train.hub_token=hf_tok123")
    )
    assert set(hub.files) == ALLOWED
    assert [one["private"] for one in hub.created] == [True, True]
    assert hub.created[0]["token"] == hub.commits[0]["token"] == "hf_tok123"
    assert "uploading 7 files" in caplog.text
    assert "https://hub.example/me/adapter (private)" in caplog.text
    assert all(name in caplog.text for name in ALLOWED)
    assert (result.output_dir / "checkpoint-2").is_dir()
    assert not list(result.output_dir.rglob("training_args.bin"))
    again = load_config(result.output_dir / "config.resolved.yaml")
    assert upload_target(again) == Target("me/adapter")


def test_no_uploaded_text_names_a_path_of_this_machine(
    quick_config: MakeConfig, hub: ReceivedUploads, tmp_path: Path
) -> None:
    result = train_run(quick_config(*PUSH, *SAVE))
    for name, content in hub.files.items():
        assert str(tmp_path).encode() not in content, name
        assert str(Path.home()).encode() + b"/" not in content, name
    for folder in (result.output_dir, result.output_dir / "checkpoint-1"):
        adapter = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        assert adapter["base_model_name_or_path"] == "tiny-model"
        for name in ("README.md", "metrics.json", "tokenizer_config.json", "chat_template.jinja"):
            assert not (folder / name).is_file() or str(tmp_path) not in (folder / name).read_text(encoding="utf-8")
    card = hub.files["README.md"].decode()
    assert "The base model is tiny-model" in card
    assert "base_model:" not in card
    assert "| perplexity | lower |" in card
    assert "before | after" in card
    assert "`hermes`" in card


@pytest.mark.parametrize(("setting", "private"), [("null", True), ("true", True), ("false", False)])
def test_only_an_explicit_false_makes_a_repository_public(
    setting: str, private: bool, quick_config: MakeConfig
) -> None:
    target = upload_target(quick_config(*PUSH, f"train.hub_private_repo={setting}"))
    assert target is not None
    assert target.private is private


@pytest.mark.parametrize("strategy", ["every_save", "checkpoint", "all_checkpoints"])
def test_uploads_during_training_are_refused_before_anything_is_written(
    strategy: str, quick_config: MakeConfig, hub: ReceivedUploads, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"train\.hub_strategy: got .*uploads during training"):
        train_run(quick_config(*PUSH, f"train.hub_strategy={strategy}"))
    assert not (tmp_path / "run").exists()
    assert not hub.created


def test_a_refusal_by_the_hub_is_explained_before_training(
    quick_config: MakeConfig, hub: ReceivedUploads, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def create_repo(api: object, name: str, **options: object) -> None:
        raise OSError("401 unauthorized")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", create_repo)
    with pytest.raises(ConfigError, match=r"the hub refused me/adapter: 401"):
        train_run(quick_config(*PUSH))
    assert not (tmp_path / "run").exists()


def test_a_failed_upload_leaves_a_complete_run_and_names_the_command(
    quick_config: MakeConfig, hub: ReceivedUploads, tmp_path: Path
) -> None:
    hub.refusal = OSError("503 Service Unavailable\nwith details")
    folder = tmp_path / "run"
    with pytest.raises(EndpointError) as caught:
        train_run(quick_config(*PUSH))
    told = str(caught.value)
    assert "is complete" in told
    assert "503 Service Unavailable" in told
    assert f"tool-sft push --run {folder} --repo me/adapter" in told
    assert "\n" not in told
    assert (folder / "metrics.json").is_file()
    hub.refusal = None
    assert main(["push", "--run", str(folder), "--repo", "me/adapter"]) == 0
    assert set(hub.files) == ALLOWED


def test_the_command_uploads_an_old_run_without_its_paths(
    run_folder: Path, hub: ReceivedUploads, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert str(tmp_path) in (run_folder / "README.md").read_text(encoding="utf-8")  # the form that peft writes
    assert main(["push", "--run", str(run_folder), "--repo", "me/adapter", "--public"]) == 0
    assert set(hub.files) == ALLOWED
    assert hub.created == [{"name": "me/adapter", "private": False, "token": None, "exist_ok": True}]
    assert not [name for name, content in hub.files.items() if str(tmp_path).encode() in content]
    told = capsys.readouterr()
    assert "(PUBLIC)" in told.err
    assert "Uploaded: https://hub.example/me/adapter" in told.out


def test_a_public_repository_is_refused_unless_that_is_wanted(run_folder: Path, hub: ReceivedUploads) -> None:
    hub.public = True
    with pytest.raises(OutputError, match="exists and is public"):
        push_run(run_folder, Target("me/adapter"))
    assert not hub.commits
    push_run(run_folder, Target("me/adapter", private=False, revision="next"))
    assert (hub.branches, hub.commits[0]["revision"]) == (["next"], "next")


def test_a_file_with_a_secret_or_a_path_is_not_uploaded(
    run_folder: Path, hub: ReceivedUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = run_folder / "README.md"
    card.write_text(f"My model, in {run_folder}", encoding="utf-8")
    with pytest.raises(OutputError, match=r"README\.md: not uploaded, because it holds the path"):
        push_run(run_folder, Target("me/adapter"))
    monkeypatch.setenv("HF_TOKEN", "hf_planted_123")
    card.write_text("My token is hf_planted_123", encoding="utf-8")
    with pytest.raises(OutputError, match=r"README\.md: not uploaded, because it holds a token"):
        push_run(run_folder, Target("me/adapter"))
    assert not hub.commits


def test_a_run_without_weights_is_not_uploaded(run_folder: Path, hub: ReceivedUploads) -> None:
    (run_folder / "adapter_model.safetensors").unlink()
    with pytest.raises(OutputError, match=r"has no adapter_model\.safetensors"):
        push_run(run_folder, Target("me/adapter"))
    shutil.rmtree(run_folder)
    with pytest.raises(OutputError, match="not a finished run"):
        push_run(run_folder, Target("me/adapter"))
    assert not hub.created
