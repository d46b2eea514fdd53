"""Report a run to the trackers of `train.report_to`: Trainer's lines, and metrics and predictions of each evaluation.

Trainer's own callbacks start and feed the trackers. Here they receive no secrets, and stay open for the final state.
Names are stable: `train/…` and `eval/…` as Trainer has them, `base/…` at step 0, `final/…` at the last step, and a
table `…/predictions` for each evaluation.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback, TrackioCallback, WandbCallback

from trainer.evaluation import Evaluation
from trainer.run_layout import BASE, FINAL
from trainer.training.logs.prediction_table import COLUMNS, as_markdown, prediction_rows
from trainer.util.secrets import hide, without_secrets

logger = logging.getLogger(__name__)

_TRACKERS = (TensorBoardCallback, WandbCallback, TrackioCallback)
_STEP = "train/global_step"  # the axis that Trainer's callbacks give to wandb and trackio


class Trackers(TrainerCallback):
    """Takes the place of Trainer's tracker callbacks. Does nothing without one, and on all processes but the first."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._inner = [one for one in trainer.callback_handler.callbacks if isinstance(one, _TRACKERS)]
        for one in self._inner:
            trainer.remove_callback(one)
        trainer.callback_handler.callbacks.insert(0, self)  # the base model is judged by a later one
        self._is_open = False
        self._owns_wandb_run = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        for one in self._inner:
            if isinstance(one, WandbCallback):
                self._owns_wandb_run = one._wandb.run is None
            one.on_train_begin(_CleanArguments(args), state, control, **kwargs)  # type: ignore[no-untyped-call]
        self._is_open = True

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        for one in self._inner:
            one.on_log(_CleanArguments(args), state, control, **kwargs)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        for one in self._inner:
            one.on_save(args, state, control, **kwargs)

    def evaluated(self, name: str, evaluation: Evaluation) -> None:
        """Report an evaluation: `base`, `final` or one during training, whose metrics Trainer reports itself.

        A tracker that fails is a warning; the run goes on.
        """
        if not self._inner or not self._trainer.is_world_process_zero():
            return
        group = name if name in (BASE, FINAL) else "eval"
        metrics = {} if group == "eval" else _numbers(f"{group}/", evaluation.metrics)
        rows = prediction_rows(evaluation.predictions, evaluation.scores)
        for one in self._inner:
            with _failure_noted(one, f"did not take {group}"):
                self._report(one, metrics, f"{group}/predictions", rows)

    def measured(self, name: str, metrics: Mapping[str, float | None]) -> None:
        """Report further metrics of a state, as `evaluated` does."""
        if not self._trainer.is_world_process_zero():
            return
        for one in self._inner:
            with _failure_noted(one, f"did not take {name}"):
                self._log(one, _numbers(f"{name}/", metrics))

    def close(self) -> None:
        """End the trackers; after training, and after a failure. A tracker that fails is a warning."""
        if not self._is_open:
            return
        self._is_open = False
        trainer = self._trainer
        for one in self._inner:
            with _failure_noted(one, "did not end"):
                one.on_train_end(
                    trainer.args, trainer.state, trainer.control, model=trainer.model, processing_class=None
                )
                if isinstance(one, WandbCallback) and self._owns_wandb_run and one._wandb.run is not None:
                    one._wandb.finish()

    def _log(self, one: Any, metrics: Mapping[str, float]) -> None:
        step = self._trainer.state.global_step
        if isinstance(one, TensorBoardCallback):
            for key, value in metrics.items():
                one.tb_writer.add_scalar(key, value, step)
            one.tb_writer.flush()
        else:
            tracker = one._wandb if isinstance(one, WandbCallback) else one._trackio
            tracker.log({**metrics, _STEP: step})

    def _report(self, one: Any, metrics: Mapping[str, float], table: str, rows: Sequence[Sequence[str]]) -> None:
        step = self._trainer.state.global_step
        if isinstance(one, TensorBoardCallback):
            for key, value in metrics.items():
                one.tb_writer.add_scalar(key, value, step)
            one.tb_writer.add_text(table, as_markdown(rows), step)
            one.tb_writer.flush()
        elif isinstance(one, WandbCallback):
            shown = one._wandb.Table(columns=list(COLUMNS), data=[list(row) for row in rows])
            one._wandb.log({**metrics, table: shown, _STEP: step})
        else:
            shown = one._trackio.Table(columns=list(COLUMNS), data=[list(row) for row in rows])
            one._trackio.log({**metrics, table: shown, _STEP: step})


@contextmanager
def _failure_noted(tracker: TrainerCallback, what: str) -> Iterator[None]:
    """Inside the block, an error is a warning: a run does not depend on a tracker."""
    try:
        yield
    except Exception as error:  # of any kind: from the network, from another version of the tracker
        logger.warning(hide(f"train.report_to: {type(tracker).__name__} {what}: {error}"))


class _CleanArguments:
    """The arguments as a tracker may see them: every attribute, and no secret among the values that it copies."""

    def __init__(self, args: TrainingArguments) -> None:
        self._args = args

    def __getattr__(self, name: str) -> Any:
        return getattr(self._args, name)

    def to_dict(self) -> dict[str, Any]:
        """All values, as JSON values without secrets."""
        values: dict[str, Any] = json.loads(hide(json.dumps(without_secrets(self._args.to_dict()), default=str)))
        return values

    def to_json_string(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), indent=2)


def _numbers(prefix: str, metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{prefix}{key}": float(value)
        for key, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
