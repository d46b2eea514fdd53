"""A finished run folder is read, and any other folder is refused with the reason."""

import json
from pathlib import Path

import pytest

from tests.support.tiny_runs import make_run
from trainer.errors import OutputError
from trainer.training.finished_run import read_run


def test_a_run_knows_its_name_and_its_largest_rank(tiny_model_folder: Path, tmp_path: Path) -> None:
    run = make_run(tiny_model_folder, tmp_path / "carsales", "lora.r=4")
    settings = json.loads((run.path / "adapter_config.json").read_text())
    (run.path / "adapter_config.json").write_text(json.dumps(settings | {"rank_pattern": {"q_proj": 24}}))
    assert (run.name, run.rank, read_run(run.path).rank) == ("carsales", 4, 24)


@pytest.mark.parametrize("missing", ["config.resolved.yaml", "adapter_config.json", "chat_template.jinja"])
def test_a_folder_without_a_finished_run_is_refused(missing: str, tmp_path: Path) -> None:
    for name in {"config.resolved.yaml", "adapter_config.json", "chat_template.jinja"} - {missing}:
        (tmp_path / name).write_text("{}")
    with pytest.raises(OutputError, match=f"has no {missing}"):
        read_run(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"):
        read_run(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ('{"peft_type": "IA3"}', "not the configuration of a LoRA adapter: missing 'r'"),
        ('{"r": true}', "not the configuration of a LoRA adapter: r is True"),
        (
            '{"r": 8, "rank_pattern": {"q_proj": "x"}}',
            r"not the configuration of a LoRA adapter: rank_pattern\.q_proj is 'x'",
        ),
        ("[8]", "cannot be read: not a JSON object"),
    ],
)
def test_an_adapter_that_is_not_a_lora_adapter_is_refused(tmp_path: Path, adapter: str, message: str) -> None:
    for name in ("config.resolved.yaml", "chat_template.jinja"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "adapter_config.json").write_text(adapter)
    with pytest.raises(OutputError, match=r"adapter_config\.json: " + message):
        read_run(tmp_path)
