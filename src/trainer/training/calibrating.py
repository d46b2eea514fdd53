"""Choose the bias of a call on held-out training sessions, and report what it does to the final evaluation."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trainer.calibration.fit import Fit, curve, decisions, fit_bias, wrong_rates
from trainer.calibration.record import Calibration
from trainer.config import Config
from trainer.evaluation import Evaluation
from trainer.tool_trainer import ToolTrainer
from trainer.types import ToolEvalExample

logger = logging.getLogger(__name__)


def calibrate(cfg: Config, trainer: ToolTrainer, examples: Sequence[ToolEvalExample]) -> Calibration | None:
    """Fit the bias to the current weights on `examples`, and let later evaluations decode with it.

    The margins come from one pass over the sessions; nothing is decoded. Returns None if the configuration leaves
    calibration out, or without examples. All processes must call it, and get the same result.
    """
    if not cfg.eval.calibrate_calls or not examples:
        return None
    settings = trainer.evaluator.settings
    one_token = replace(  # of the turns that an evaluation would judge
        settings, max_new_tokens=1, max_context_tokens=settings.max_context_tokens - settings.max_new_tokens + 1
    )
    evaluator = trainer.evaluator.with_settings(one_token, examples)
    tokens = evaluator.opening_tokens()
    settings = replace(settings, call_token_ids=tuple(tokens))
    if tokens:
        evaluator = evaluator.with_settings(replace(one_token, call_token_ids=settings.call_token_ids))
        decoded = trainer.decode(evaluator, base=False, title="Calibrating calls")
        turns = decisions(examples, [turn.margins for turn in decoded])
        fit = fit_bias(turns, tradeoff=cfg.eval.call_tradeoff)
    else:
        fit = replace(fit_bias((), tradeoff=cfg.eval.call_tradeoff), note="no opening token")
    calibration = Calibration(tuple(tokens), tuple(tokens.values()), cfg.eval.call_tradeoff, fit)
    trainer.evaluator = trainer.evaluator.with_settings(replace(settings, logit_bias=calibration.logit_bias))
    logger.info(_line(fit))
    return calibration


def evaluated(
    calibration: Calibration, examples: Sequence[ToolEvalExample], evaluation: Evaluation
) -> dict[str, Any] | None:
    """Return what the bias does to an evaluation that was made with it; None if the evaluation has no margins.

    `before` and `after` are the rates by the margins. `agreement` is the share of turns in which the margin and the
    bias foresee the decision of the decoded answer. It is below 1 because answers may leave gold before a call.
    """
    turns = decisions(examples, evaluation.margins)
    if not turns:
        return None
    bias = calibration.fit.bias
    called = [
        (margins.call + bias > 0) == bool(prediction.calls)
        for margins, prediction in zip(evaluation.margins, evaluation.predictions, strict=True)
        if margins is not None
    ]
    return {
        "n_turns": len(turns),
        "before": wrong_rates(turns, 0.0)._asdict(),
        "after": wrong_rates(turns, bias)._asdict(),
        "agreement": sum(called) / len(called),
        "curve": [point._asdict() for point in curve(turns)],
    }


def _line(fit: Fit) -> str:
    judged = f"{fit.n_turns} turns of {fit.n_sessions} held-out training sessions"
    if fit.note == "no opening token":
        return "no bias on calls: no token of this format begins calls only"
    if not fit.bias:
        return f"no bias on calls: {'too few' if fit.note == 'too few turns' else 'none helps on'} {judged}"
    before, after = ((rates.missed or 0.0, rates.hallucinated or 0.0) for rates in (fit.before, fit.after))
    return (
        f"calls get a bias of {fit.bias:+.1f}: on {judged}, {before[0]:.1%} -> {after[0]:.1%} of the calls are missed, "
        f"and {before[1]:.1%} -> {after[1]:.1%} of the other turns have one"
    )
