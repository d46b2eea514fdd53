"""Show and record training: a progress bar in a terminal or a line per logged step, and always `history.jsonl`."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.progress import Progress, TaskID
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainer.training.memory import peak_memory_gb
from trainer.training.run_trainer import RunTrainer
from trainer.util.progress import console, make_bar

logger = logging.getLogger(__name__)


class TrainingLog(TrainerCallback):
    """Replaces Trainer's own bars and prints.

    `record` receives every logged line: step, epoch and what Trainer logs (losses in nats per token).
    Rates count only the time of training steps, not of the evaluations between them.
    """

    def __init__(self, trainer: RunTrainer, record: Callable[[Mapping[str, Any]], None]) -> None:
        self._trainer, self._record = trainer, record
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._step_started = 0.0
        self._loss = ""

    def rates(self) -> dict[str, float]:
        """Return tokens and supervised tokens per second of training in this process, over the whole run."""
        seconds = max(self._trainer.training_seconds, 1e-9)
        return {
            "tokens_per_s": round(self._trainer.n_tokens_seen / seconds, 1),
            "supervised_tokens_per_s": round(self._trainer.n_supervised_seen / seconds, 1),
        }

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if console.is_terminal and state.is_world_process_zero:
            self._bar = make_bar("steps")
            self._task = self._bar.add_task("Training", total=state.max_steps, note="")
            self._bar.start()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._step_started = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._trainer.training_seconds += time.monotonic() - self._step_started
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=state.global_step, note=self._note())
            if control.should_evaluate:  # evaluation shows its own bar
                self._bar.stop()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs:
            return
        self._record({"step": state.global_step, "epoch": state.epoch, **logs})
        if "loss" not in logs:
            return
        self._loss = f"loss {float(logs['loss']):.3f}"
        if self._bar is None:
            logger.info(f"step {state.global_step}/{state.max_steps} | {self._note()}")

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._bar is not None and state.global_step < state.max_steps:
            self._bar.start()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _note(self) -> str:
        speed = f"{self.rates()['tokens_per_s'] / 1000:.2f}k tok/s"
        return " | ".join(part for part in (self._loss, speed, f"{peak_memory_gb():.1f} GB") if part)
