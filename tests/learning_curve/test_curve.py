"""A whole learning curve on a tiny random model: what is trained, what is kept, and what is refused."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.interrupted import SHORT_SESSIONS
from trainer.config import Config
from trainer.config.schema import TRAIN_DEFAULTS
from trainer.data.domains import domain_datasets, load_domain
from trainer.errors import ConfigError, DataError, RunInterrupted
from trainer.learning_curve import curve as curve_module
from trainer.learning_curve.curve import Curve, train_curve
from trainer.learning_curve.plan import Plan, make_plan
from trainer.run_layout import BASE, RunLayout
from trainer.training.recovery.checkpoints import checkpoints
from trainer.training.run_trainer import RunTrainer

MakeConfig = Callable[..., Config]
RUN = (
    *SHORT_SESSIONS,
    "data.train_split=train",
    "data.eval_split=test[:3]",
    "train.max_steps=-1",
    "train.num_train_epochs=2",
    "train.per_device_train_batch_size=2",
    "train.eval_strategy=epoch",
    "train.save_strategy=steps",
    "train.save_steps=1",
    "data.n_tool_sessions_eval=3",
    "eval.max_new_tokens_eval=4",
)
SHARES = (25, 50, 100)


class Died(Exception):
    """A machine that dies."""


def die_in_second_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the run of 50% die when the checkpoint after its third step is complete."""
    save = RunTrainer._save_checkpoint

    def saved(trainer: RunTrainer, model: Any, trial: Any) -> None:
        save(trainer, model, trial)
        if "050" in str(trainer.args.output_dir) and trainer.state.global_step == 3:
            raise Died

    monkeypatch.setattr(RunTrainer, "_save_checkpoint", saved)


def trained(plan: Plan) -> Curve:
    found = train_curve(plan)
    assert found is not None
    return found


def written(cfg: Config) -> dict[str, Any]:
    path = cfg.output_dir.with_name("run-curve") / "curve.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def weights(plan: Plan, number: int) -> tuple[int, bytes]:
    path = RunLayout(plan.runs[number].folder).adapter_weights
    return path.stat().st_mtime_ns, path.read_bytes()


@pytest.mark.slow
def test_a_curve_is_trained_once_goes_on_after_an_interruption_and_refuses_changes(quick_config: MakeConfig) -> None:
    cfg = quick_config(*RUN)
    plan = make_plan(cfg, SHARES)
    assert [(run.n_sessions, run.n_steps) for run in plan.runs] == [(2, 2), (5, 6), (10, 10)]
    assert {run.n_evaluations for run in plan.runs} == {2}
    assert [run.state for run in plan.runs] == ["new"] * 3
    sessions = [set(domain_datasets(load_domain(run.cfg), run.cfg).train_dataset["session_id"]) for run in plan.runs]
    assert sessions[0] < sessions[1] < sessions[2]

    with pytest.MonkeyPatch.context() as patch:
        die_in_second_run(patch)
        with pytest.raises(Died):
            train_curve(plan)
    so_far = written(cfg)
    assert ([point["percent"] for point in so_far["shares"]], so_far["verdict"]) == ([25], None)
    assert checkpoints(RunLayout(plan.runs[1].folder).unfinished)[0].name == "checkpoint-3"

    first_run = weights(plan, 0)
    plan = make_plan(cfg, SHARES)
    assert [run.state for run in plan.runs] == ["finished", "interrupted", "new"]
    found = trained(plan)
    assert weights(plan, 0) == first_run
    assert [point.n_steps for point in found.points] == [run.n_steps for run in plan.runs]
    assert [point.n_sessions for point in found.points] == [2, 5, 10]
    history = RunLayout(plan.runs[1].folder).history.read_text(encoding="utf-8")
    assert [line["step"] for line in map(json.loads, history.splitlines()) if "eval_turn_exact" in line] == [3, 6]
    judged_base = [RunLayout(run.folder).predictions(BASE).is_file() for run in plan.runs]
    assert judged_base == [True, False, False]
    assert found.base is not None
    assert found.verdict is not None
    assert found.verdict.conclusion == (
        "Whether more data or more steps would help is not decidable with 3 test sessions."
    )
    assert written(cfg)["verdict"]["conclusion"] == found.verdict.conclusion
    assert (plan.folder / "comparison.html").is_file()

    content = written(cfg)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curve_module, "train_run", None)  # nothing is trained again
        assert trained(make_plan(cfg, SHARES)) == found
    assert written(cfg) == content

    with pytest.raises(ConfigError, match=r"(?s)025: this run of the curve has other settings.*lora\.r: 16 there, 8"):
        make_plan(quick_config(*RUN, "lora.r=8"), SHARES)
    with pytest.raises(ConfigError, match=r"train\.learning_rate: 0\.003 there, 0\.001 here"):
        make_plan(quick_config(*RUN, "train.learning_rate=0.001"), SHARES)
    with pytest.raises(ConfigError, match=r"data\.eval_split: 'test\[:3\]' there, 'test\[:2\]' here"):
        make_plan(quick_config(*RUN, "data.eval_split=test[:2]"), SHARES)

    RunLayout(plan.runs[1].folder).metrics.unlink()
    again = make_plan(cfg, SHARES)
    assert [run.state for run in again.runs] == ["finished", "new", "finished"]
    before = [weights(plan, number) for number in range(3)]
    assert trained(again).points == found.points
    after = [weights(plan, number) for number in range(3)]
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1][0] != before[1][0]
    assert after[1][1] == before[1][1]


def test_other_data_is_refused(quick_config: MakeConfig, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    source = Path("tests/support/short_sessions")
    for name in ("train.jsonl", "test.jsonl"):
        (data / name).write_text((source / name).read_text(encoding="utf-8"), encoding="utf-8")
    cfg = quick_config(*RUN, f"data.dataset_name={data}", "train.num_train_epochs=1", "eval.evaluate_base=false")
    trained(make_plan(cfg, (50, 100)))
    lines = (data / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (data / "train.jsonl").write_text("".join(lines[1:]), encoding="utf-8")
    with pytest.raises(DataError, match=r"run-curve/(050|100): the data has changed .* or delete .*run-curve to begin"):
        make_plan(cfg, (50, 100))


def test_a_stopped_curve_says_how_it_goes_on(quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(cfg: Config) -> None:
        raise RunInterrupted("stopped; go on with something else", 143)

    monkeypatch.setattr(curve_module, "train_run", stopped)
    with pytest.raises(RunInterrupted, match=r"^stopped in the run of 25% .*the same command goes on$") as error:
        train_curve(make_plan(quick_config(*RUN), SHARES))
    assert error.value.exit_code == 143


def test_shares_with_too_few_sessions_are_refused(quick_config: MakeConfig) -> None:
    cfg = quick_config(*RUN)
    with pytest.raises(DataError, match="5% of 10 training sessions is less than one"):
        make_plan(cfg, (5, 50, 100))
    with pytest.raises(DataError, match="50% and 55% are both 5 training sessions"):
        make_plan(cfg, (50, 55, 100))


DOMAIN = """
from trainer.data import assemble_datasets
import chat_rows

def build_datasets(cfg):
    bundle = chat_rows.build_datasets({change})
    return {result}
"""


@pytest.mark.parametrize(
    ("change", "result", "said"),
    [
        ("cfg", "tuple(bundle)", "makes its own rows, so no session of it can be chosen by its id"),
        (
            "cfg.model_copy(update={'data': cfg.data.model_copy(update={'dataset_name': NAME, 'sources': []})})",
            "bundle",
            r"returns 10 training sessions instead of 2; .*data\.sources\[\]\.max_sessions",
        ),
    ],
)
def test_a_domain_that_does_not_choose_sessions_is_refused(
    change: str, result: str, said: str, quick_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = quick_config(*RUN, "data.load_module=own_rows")
    code = DOMAIN.format(change=change.replace("NAME", repr(cfg.data.dataset_name)), result=result)
    (tmp_path / "own_rows.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_rows", raising=False)
    with pytest.raises(ConfigError, match=said):
        make_plan(cfg, SHARES)


@pytest.mark.parametrize(
    ("override", "n_evaluations", "noted"),
    [
        ("train.eval_strategy='no'", 1, True),
        ("train.num_train_epochs=1", 1, True),
        ("train.num_train_epochs=1.5", 2, False),
        ("train.max_steps=7", 2, False),
    ],
)
def test_the_plan_says_beforehand_what_the_curve_will_not_show(
    override: str, n_evaluations: int, noted: bool, quick_config: MakeConfig
) -> None:
    plan = make_plan(quick_config(*RUN, override), (50, 100))
    assert plan.runs[-1].n_evaluations == n_evaluations
    assert any("evaluated once" in note for note in plan.notes) == noted
    assert any("too few for a verdict (at least 6" in note for note in plan.notes)


def test_one_recipe_serves_all_shares_and_held_out_sessions_count(quick_config: MakeConfig) -> None:
    cfg = quick_config(*RUN, "train.recipe=auto", "data.selection_share=0.25")
    own = (*TRAIN_DEFAULTS, "seed", "recipe", "save_strategy", "eval_strategy", "save_steps")
    cfg = cfg.model_copy(
        update={"train": {key: cfg.train[key] for key in own if key in cfg.train}, "lora": type(cfg.lora)()}
    )
    plan = make_plan(cfg, SHARES)
    chosen = [
        {key: run.cfg.train[key] for key in ("num_train_epochs", "learning_rate", "loss_weighting")}
        for run in plan.runs
    ]
    assert chosen[0] == chosen[1] == chosen[2]
    counts = [run.n_sessions for run in plan.runs]
    assert counts == sorted(counts)
    assert chosen[0]["loss_weighting"] == "decision"
    trained(plan)
    assert all(run.state == "finished" for run in make_plan(cfg, SHARES).runs)
