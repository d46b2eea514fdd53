"""Show and record training: a progress bar in a terminal or a line per logged step, and always `history.jsonl`."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainer.training.memory import peak_memory_gb
from trainer.training.run_trainer import RunTrainer
from trainer.util.progress import Advance, progress_bar, shows_bars

logger = logging.getLogger(__name__)


class TrainingLog(TrainerCallback):
    """Replaces Trainer's own bars and prints.

    `record` receives every logged line: step, epoch and what Trainer logs (losses in nats per token).
    Rates count only the time of training steps, not of the evaluations between them.
    """

    def __init__(self, trainer: RunTrainer, record: Callable[[Mapping[str, Any]], None]) -> None:
        self._trainer, self._record = trainer, record
        self._shown = ExitStack()
        self._advance: Advance = lambda n_done, /, *, note="": None
        self._n_shown = 0
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
        self._n_shown = state.global_step
        bar = progress_bar("Training", total=state.max_steps, unit="steps", done=state.global_step, lines=False)
        self._advance = self._shown.enter_context(bar)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._step_started = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._trainer.training_seconds += time.monotonic() - self._step_started
        self._advance(state.global_step - self._n_shown, note=self._note())
        self._n_shown = state.global_step

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
        if not shows_bars():
            logger.info(f"step {state.global_step}/{state.max_steps} | {self._note()}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the progress bar away."""
        self._shown.close()

    def _note(self) -> str:
        speed, memory = self.rates()["tokens_per_s"], peak_memory_gb() * 1e9 / 2**30
        parts = (
            self._loss,
            f"{speed / 1000:.1f}k tok/s" if speed >= 1000 else f"{speed:.0f} tok/s",
            f"{memory:.1f} GiB",
        )
        return " | ".join(part for part in parts if part)
