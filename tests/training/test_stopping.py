"""Ctrl-C and SIGTERM stop a run with a checkpoint, from which it goes on as if nothing had happened."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.interrupted import history_of
from tests.training.test_resume import RUN, same_weights
from trainer import evaluation
from trainer.config import Config
from trainer.errors import RunInterrupted
from trainer.generation.teacher_forcing import decode_turns
from trainer.run_layout import RunLayout
from trainer.training import train as train_module
from trainer.training.recovery.checkpoints import checkpoints
from trainer.training.run_trainer import RunTrainer
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]
EVALUATED = (
    "train.eval_strategy=steps",
    "train.eval_steps=1",
    "train.load_best_model_at_end=true",
    "train.metric_for_best_model=perplexity",
)


def signalled(function: Callable[..., Any], number: int, *, call: int) -> Callable[..., Any]:
    """Return the function, with a signal to this process at one of its calls."""
    count = 0

    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == call:
            signal.raise_signal(number)
        return function(*args, **kwargs)

    return called


@pytest.mark.parametrize("strategies", [EVALUATED, ("train.save_strategy=epoch", "train.eval_strategy=epoch")])
@pytest.mark.parametrize(
    ("place", "call", "number", "step"),
    [
        ((RunTrainer, "compute_loss"), 3, signal.SIGTERM, 2),  # inside a step, before the second half of its rows
        ((RunTrainer, "compute_loss"), 6, signal.SIGINT, 3),  # in the last step of the first epoch
        ((evaluation, "decode_turns"), 2, signal.SIGINT, None),  # in the second evaluation
        ((RunTrainer, "store_flos"), 2, signal.SIGTERM, None),  # while something is saved
    ],
)
def test_a_stopped_run_has_a_checkpoint_and_goes_on(
    place: tuple[Any, str],
    call: int,
    number: int,
    step: int | None,
    strategies: tuple[str, ...],
    quick_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = (*RUN, *strategies)
    whole = train_run(quick_config(*settings, f"train.output_dir={tmp_path / 'whole'}"))
    cfg = quick_config(*settings)
    work = RunLayout(cfg.output_dir).unfinished
    with monkeypatch.context() as patch:
        patch.setattr(*place, signalled(getattr(*place), number, call=call))
        with pytest.raises(
            RunInterrupted, match=r"stopped; .*checkpoint-\d+ is complete. Go on with: .*--resume"
        ) as caught:
            train_run(cfg)
    assert caught.value.exit_code == 128 + number
    newest = checkpoints(work)[0]
    assert newest.name == f"checkpoint-{step}" or step is None
    assert str(newest) in str(caught.value)
    train_run(quick_config(*settings, "train.resume_from_checkpoint=true"))
    assert same_weights(cfg.output_dir, whole.output_dir)
    assert history_of(cfg.output_dir) == history_of(whole.output_dir)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_stop_before_the_first_step_says_that_nothing_is_lost(
    quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "decode_turns", signalled(decode_turns, signal.SIGINT, call=1))
        with pytest.raises(RunInterrupted, match="has no checkpoint yet, so it begins again"):
            train_run(quick_config())
    train_run(quick_config("train.resume_from_checkpoint=true"))


def test_a_second_signal_stops_at_once(quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(*args: Any, **kwargs: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunTrainer, "compute_loss", twice)
    with pytest.raises(KeyboardInterrupt, match="stopped at once"):
        train_run(quick_config())


def test_the_final_evaluation_is_made_by_the_resumed_run(
    quick_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_run(quick_config(*RUN, f"train.output_dir={tmp_path / 'whole'}"))
    final = train_module._final_evaluation
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "_final_evaluation", signalled(final, signal.SIGTERM, call=1))
        with pytest.raises(RunInterrupted, match="checkpoint-6 is complete"):
            train_run(quick_config(*RUN))
    resumed = train_run(quick_config(*RUN, "train.resume_from_checkpoint=true"))
    assert same_weights(resumed.output_dir, whole.output_dir)
