"""A training that did not help gets the reason whose signs it shows, and the first of several."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from trainer.scoring.advice.diagnosis import Evidence, diagnose

FALLING = [2.0, 1.6, 1.3, 1.1, 0.9, 0.7, 0.55, 0.4]
SETTLED = [2.0, 1.0, 0.5, 0.3, 0.25, 0.24, 0.24, 0.24]
FLAT = [2.0, 1.9, 1.8, 1.85, 1.8, 1.82, 1.8, 1.81]
RISING = [2.0, 3.0, 9.0, 12.0, 11.0, 12.0, 13.0, 12.0]
CONFIG = {"train": {"learning_rate": 0.03, "num_train_epochs": 1}, "eval": {"max_new_tokens_eval": 64}}


def run(
    losses: Sequence[float], *, held: Sequence[float] = (), data: Mapping[str, Any] | None = None, **final: Any
) -> Evidence:
    """A run with these training losses, losses of evaluations, and final metrics."""
    history = [{"step": step, "loss": loss} for step, loss in enumerate(losses)]
    history += [{"step": step, "eval_loss": loss} for step, loss in enumerate(held)]
    final = {"loss": 0.3, "perplexity": 1.3, "perplexity_call_tokens": 1.2, "n_turns": 100, **final}
    base = {"perplexity": 3.0}
    return Evidence({"base": base, "final": final, "data": data or {"train": {"n_sessions": 200}}}, history, CONFIG)


@pytest.mark.parametrize(
    ("evidence", "reason", "remedy"),
    [
        (run(RISING), "learning rate is too high", "--set train.learning_rate=0.003"),
        (run(SETTLED, perplexity=14_000.0), "learning rate is too high", "0.003"),
        (run(SETTLED, data={"train": {"n_sessions": 8}}), "8 training sessions are too few", "tool-sft curve"),
        (
            run(SETTLED, data={"warnings": {"gold_too_long": 30}}),
            "30 of the 100 right answers are longer than eval.max_new_tokens_eval (64)",
            "tool-sft check",
        ),
        (run(FLAT, perplexity_call_tokens=4.0), "do not follow from the conversations", "tool-sft preview"),
        (run(FALLING), "underfitted", "--set train.num_train_epochs=2"),
        (run(SETTLED, loss=0.9), "overfitted", "fewer epochs"),
        (run(SETTLED, held=[0.4, 0.3, 0.35]), "overfitted", "load_best_model_at_end"),
        (run(SETTLED, hallucination_rate=0.87), "calls tools on turns that need none (87% of those turns)", "decision"),
        (run(SETTLED, missed_call_rate=0.4), "leaves out calls", "decision"),
    ],
)
def test_each_reason_has_its_signs(evidence: Evidence, reason: str, remedy: str) -> None:
    found = diagnose(evidence)
    assert found is not None
    assert reason in found.reason
    assert remedy in found.remedy


def test_a_run_without_a_sign_gets_no_reason() -> None:
    assert diagnose(run(SETTLED)) is None
    assert diagnose(Evidence({}, (), {})) is None
