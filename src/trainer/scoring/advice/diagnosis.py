"""The likely reason why a training did not help, and what to try next. Reads no file and judges no turn.

Every rule looks at one thing that a run has measured. Rules are ordered: what would explain the others comes first.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

_FEW_SESSIONS = 20
_MUCH_TOO_LONG = 0.1  # of the call turns
_FALLING = 0.85  # the last quarter of the losses, over the quarter before
_FLAT = 0.6  # the last losses, over the first ones
_UNSURE = 2.0  # perplexity of call tokens: the right token has half of the probability
_RISEN = 1.05  # the loss of the last evaluation, over the lowest
_MEMORIZED = 0.5  # the last training losses, over the loss of the evaluation


class Evidence(NamedTuple):
    """What a run has measured: the states and other parts of `metrics.json`, its history, and its configuration."""

    metrics: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    config: Mapping[str, Any]

    def number(self, *path: str) -> float | None:
        """A number in the metrics, such as `final`, `perplexity`; None if it is not there."""
        value: Any = self.metrics
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return float(value) if isinstance(value, int | float) else None

    def setting(self, section: str, key: str) -> Any:
        """A value of the configuration."""
        found = self.config.get(section)
        return found.get(key) if isinstance(found, Mapping) else None

    def logged(self, key: str) -> list[float]:
        """The values of a key in the history, in the order of steps."""
        return [float(line[key]) for line in self.history if isinstance(line.get(key), int | float)]


class Diagnosis(NamedTuple):
    """A likely reason, as a sentence, and what to do next: settings to change or a command."""

    reason: str
    remedy: str

    def sentence(self) -> str:
        """Both for people."""
        return f"Likely reason: {self.reason}. Next: {self.remedy}."


def diagnose(evidence: Evidence) -> Diagnosis | None:
    """Return the first reason whose signs a run shows; None if it shows none of them."""
    for rule in _RULES:
        if (found := rule(evidence)) is not None:
            return found
    return None


def few_sessions(evidence: Evidence) -> list[str]:
    """Return a sentence if a run had few training sessions, which concerns every run; else nothing."""
    n = evidence.number("data", "train", "n_sessions")
    if n is None or n >= _FEW_SESSIONS:
        return []
    return [
        f"Only {n:.0f} training sessions: more of them usually help most; `tool-sft curve` shows whether they would."
    ]


def _rate_too_high(seen: Evidence) -> Diagnosis | None:
    losses, rate = seen.logged("loss"), seen.setting("train", "learning_rate")
    before, after = seen.number("base", "perplexity"), seen.number("final", "perplexity")
    rises = len(losses) >= 4 and fmean(_last_quarter(losses)) > losses[0]
    if not (rises or (before is not None and after is not None and after > before)):
        return None
    lower = f"train.learning_rate={rate / 10:.2g}" if isinstance(rate, int | float) else "a lower train.learning_rate"
    return Diagnosis("the learning rate is too high: the loss ended above where it began", f"--set {lower}")


def _too_few_sessions(seen: Evidence) -> Diagnosis | None:
    n = seen.number("data", "train", "n_sessions")
    if n is None or n >= _FEW_SESSIONS:
        return None
    return Diagnosis(
        f"{n:.0f} training sessions are too few", "add sessions; `tool-sft curve` shows whether more would help"
    )


def _gold_too_long(seen: Evidence) -> Diagnosis | None:
    n_long, n_turns = seen.number("data", "warnings", "gold_too_long"), seen.number("final", "n_turns")
    if not n_long or not n_turns or n_long / n_turns < _MUCH_TOO_LONG:
        return None
    limit = seen.setting("eval", "max_new_tokens_eval")
    return Diagnosis(
        f"{n_long:.0f} of the {n_turns:.0f} right answers are longer than eval.max_new_tokens_eval ({limit}), so they "
        "are cut and never exact",
        "raise eval.max_new_tokens_eval; `tool-sft check` lists these answers",
    )


def _overfitted(seen: Evidence) -> Diagnosis | None:
    held, losses = seen.logged("eval_loss"), seen.logged("loss")
    final = seen.number("final", "loss")
    keeps_best = bool(seen.setting("train", "load_best_model_at_end"))
    rises = len(held) >= 2 and held[-1] > _RISEN * min(held) and not keeps_best
    by_token = seen.setting("train", "loss_weighting") in (None, "token")  # only then are both means over tokens
    is_known = by_token and len(losses) >= 4 and final is not None
    memorizes = is_known and fmean(_last_quarter(losses)) < _MEMORIZED * (final or 0.0)
    if not (rises or memorizes):
        return None
    return Diagnosis(
        "the model is overfitted: it knows the training sessions better than others",
        "fewer epochs or a lower learning rate"
        + ("" if keeps_best else ", and train.load_best_model_at_end=true")
        + "; more sessions help most",
    )


def _underfitted(seen: Evidence) -> Diagnosis | None:
    losses = seen.logged("loss")
    if len(losses) < 8:
        return None
    quarter = len(losses) // 4
    if fmean(losses[-quarter:]) > _FALLING * fmean(losses[-2 * quarter : -quarter]):
        return None
    key = "max_steps" if (seen.setting("train", "max_steps") or -1) > 0 else "num_train_epochs"
    now = seen.setting("train", key)
    more = f"--set train.{key}={2 * now:g}" if isinstance(now, int | float) else "more epochs"
    return Diagnosis("the model is underfitted: the training loss was still falling at the end", more)


def _contradictory(seen: Evidence) -> Diagnosis | None:
    losses, calls = seen.logged("loss"), seen.number("final", "perplexity_call_tokens")
    if len(losses) < 4 or calls is None or calls < _UNSURE:
        return None
    if fmean(_last_quarter(losses)) < _FLAT * fmean(losses[: max(1, len(losses) // 4)]):
        return None
    return Diagnosis(
        "the right answers do not follow from the conversations: the loss stopped falling while calls were still "
        f"uncertain (perplexity {calls:.2f})",
        "read some sessions with `tool-sft preview`; look for answers that belong to other turns, or that differ "
        "in equal situations",
    )


def _decision_off(seen: Evidence) -> Diagnosis | None:
    wrong = {name: seen.number("final", name) or 0.0 for name in ("hallucination_rate", "missed_call_rate")}
    name = max(wrong, key=lambda key: wrong[key])
    if wrong[name] < 0.2:
        return None
    what = "calls tools on turns that need none" if name == "hallucination_rate" else "leaves out calls"
    return Diagnosis(
        f"the decision whether to call is off: the model {what} ({wrong[name]:.0%} of those turns)",
        "more sessions with the turns that it decides wrongly"
        + ("" if seen.setting("train", "loss_weighting") == "decision" else ", and train.loss_weighting=decision"),
    )


def _last_quarter(values: Sequence[float]) -> Sequence[float]:
    return values[-max(1, len(values) // 4) :]


_RULES: tuple[Callable[[Evidence], Diagnosis | None], ...] = (
    _rate_too_high,
    _gold_too_long,
    _too_few_sessions,
    _contradictory,
    _underfitted,
    _overfitted,
    _decision_off,
)
