"""Judge the guard before and after a training, and keep what the base model did for the end. Judges nothing between."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trainer.generation.settings import DecodeSettings
from trainer.guard.measures import SECTION, GuardSession, guard_intervals, guard_metrics, read_sessions
from trainer.guard_evaluation import Guard
from trainer.run_layout import BASE, FINAL
from trainer.training.run_folder import RunFolder
from trainer.training.run_trainer import RunTrainer


class RunGuard:
    """The guard of one run, or none. Both states are judged on the same answers, so their difference is training's.

    `section` is what `metrics.json` keeps of it: facts, and by state the counts of every conversation.
    """

    def __init__(self, guard: Guard | None, trainer: RunTrainer, folder: RunFolder) -> None:
        self._guard, self._trainer, self._folder = guard, trainer, folder
        self.section: dict[str, Any] = {}

    def judge_base(self) -> None:
        """Judge the base model; once, also if the run is interrupted."""
        if self._guard is None:
            return
        earlier = self._folder.metrics_so_far().get(SECTION) or {}
        if earlier.get("fingerprint") == self._guard.fingerprint and read_sessions(earlier, BASE):
            self.section = dict(earlier)
            return
        self._judge(self._guard, BASE)
        if self._trainer.is_world_process_zero():
            self._folder.add_metrics({SECTION: self.section})
        self._trainer.accelerator.wait_for_everyone()

    def decode_as(self, settings: DecodeSettings) -> None:
        """Decode later answers with the same bias as an evaluation with these settings."""
        if self._guard is not None:
            evaluator = self._guard.evaluator
            biased = replace(evaluator.settings, logit_bias=settings.logit_bias)
            self._guard = replace(self._guard, evaluator=evaluator.with_settings(biased))

    def judge_final(self) -> None:
        """Judge the current weights."""
        if self._guard is not None:
            self._judge(self._guard, FINAL)

    def metrics(self, state: str) -> dict[str, float | None]:
        """Return the metrics of a judged state, for the final one with the drift; empty without a guard."""
        return guard_metrics(self._sessions(state), self._base_of(state)) if self.section else {}

    def add_to(self, values: Mapping[str, Any], state: str) -> dict[str, Any]:
        """Return the metrics of a state, as `metrics.json` stores them, with those of the guard."""
        if not self.section:
            return dict(values)
        intervals = guard_intervals(self._sessions(state), self._base_of(state))
        as_lists = {name: list(interval) for name, interval in intervals.items()}
        return {**values, **self.metrics(state), "intervals": {**(values.get("intervals") or {}), **as_lists}}

    def _judge(self, guard: Guard, state: str) -> None:
        started = time.monotonic()
        decoded = self._trainer.decode(guard.evaluator, base=state == BASE, title=f"Judging {state}, guard")
        rows = [one._asdict() for one in guard.sessions(decoded)]
        seconds = round(time.monotonic() - started, 2)
        self.section = {**guard.facts(), **self.section, state: {"sessions": rows, "runtime_s": seconds}}

    def _sessions(self, state: str) -> list[GuardSession]:
        return read_sessions(self.section, state)

    def _base_of(self, state: str) -> list[GuardSession] | None:
        return self._sessions(BASE) if state == FINAL else None
