"""The runs of a learning curve before anything is trained: folders, states, configurations and refusals."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.config import Config, config_to_yaml
from trainer.config.schema import SourceConfig
from trainer.errors import ConfigError, DataError
from trainer.learning_curve.shares import (
    check_curve,
    record_of,
    run_configs,
    run_state,
    share_folder,
    share_of_sessions,
)
from trainer.run_layout import RunLayout

MakeConfig = Callable[..., Config]
SHARES = (25, 50, 100)


def write_record(run: Path, cfg: Config, *, metrics: str | None = None) -> None:
    run.mkdir(parents=True)
    RunLayout(run).config.write_text(config_to_yaml(cfg), encoding="utf-8")
    if metrics is not None:
        RunLayout(run).metrics.write_text(metrics, encoding="utf-8")


def test_every_share_has_a_folder_of_its_own_and_one_judges_the_base(quick_config: MakeConfig, tmp_path: Path) -> None:
    configs = run_configs(quick_config("train.push_to_hub=true", "train.hub_model_id=me/x"), SHARES)
    assert [str(cfg.output_dir) for cfg in configs.values()] == [
        str(tmp_path / "run-curve" / name) for name in ("025", "050", "100")
    ]
    assert [cfg.eval.evaluate_base for cfg in configs.values()] == [True, False, False]
    assert not any(cfg.train["push_to_hub"] for cfg in configs.values())
    assert configs[50].train["run_name"] == "run-curve-050"
    assert configs[100].data == quick_config().data


def test_the_base_is_judged_by_the_run_that_began_to(quick_config: MakeConfig) -> None:
    cfg = quick_config()
    configs = run_configs(cfg, SHARES)
    write_record(share_folder(cfg, 25), configs[25], metrics='{"final": {}}')
    assert [one.eval.evaluate_base for one in run_configs(cfg, (10, *SHARES)).values()] == [False, True, False, False]


def test_nobody_judges_the_base_if_the_configuration_does_not(quick_config: MakeConfig) -> None:
    configs = run_configs(quick_config("eval.evaluate_base=false"), SHARES)
    assert not any(cfg.eval.evaluate_base for cfg in configs.values())


def test_how_far_a_run_is(quick_config: MakeConfig) -> None:
    cfg = quick_config()
    run = share_folder(cfg, 25)
    assert run_state(cfg, 25) == "new"
    write_record(run, cfg, metrics='{"base": {}}')
    assert run_state(cfg, 25) == "new"  # its final metrics are gone
    RunLayout(run).metrics.write_text('{"final": {}}', encoding="utf-8")
    assert run_state(cfg, 25) == "finished"
    assert record_of(run) == run
    unfinished = RunLayout(run).unfinished
    write_record(unfinished, cfg)
    assert run_state(cfg, 25) == "interrupted"
    assert record_of(run) == unfinished
    (unfinished / "checkpoint-3").mkdir()
    assert run_state(cfg, 25) == "new"  # no complete checkpoint
    RunLayout(unfinished).file_list.write_text("[]", encoding="utf-8")
    assert run_state(cfg, 25) == "interrupted"  # finished, but not moved


def test_checkpoints_without_an_optimizer_begin_again(quick_config: MakeConfig) -> None:
    cfg = quick_config("train.save_only_model=true")
    write_record(RunLayout(share_folder(cfg, 25)).unfinished, cfg)
    assert run_state(cfg, 25) == "new"
    assert "resume_from_checkpoint" not in run_configs(cfg, SHARES)[25].train


def test_sources_and_caps_are_kept(quick_config: MakeConfig) -> None:
    data = quick_config().data
    sources = [SourceConfig(dataset_name="a"), SourceConfig(dataset_name="b", max_sessions=8)]
    cfg = quick_config().model_copy(update={"data": data.model_copy(update={"dataset_name": None, "sources": sources})})
    half = share_of_sessions(run_configs(cfg, SHARES)[50], 50, available=[11, 8])
    assert [source.max_sessions for source in half.data.sources] == [5, 4]
    with pytest.raises(DataError, match=r"^a: 25% of 3 training sessions is less than one; .*--shares$"):
        share_of_sessions(run_configs(cfg, SHARES)[25], 25, available=[3, 8])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.resume_from_checkpoint=true", "train.resume_from_checkpoint: leave it out"),
        ("data.n_tool_sessions_eval=0", "data.n_tool_sessions_eval: got 0"),
        ("train.learning_rate=-1", "train.learning_rate"),
    ],
)
def test_settings_that_no_curve_can_have_are_refused(override: str, said: str, quick_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=said):
        check_curve(quick_config(override), SHARES)


def test_weights_are_refused(quick_config: MakeConfig) -> None:
    data = quick_config().data
    weighted = [SourceConfig(dataset_name=data.dataset_name or "", weight=2)]
    cfg = quick_config().model_copy(
        update={"data": data.model_copy(update={"dataset_name": None, "sources": weighted})}
    )
    with pytest.raises(ConfigError, match=r"^data\.sources: sources with a weight .* remove the weights"):
        check_curve(cfg, SHARES)
