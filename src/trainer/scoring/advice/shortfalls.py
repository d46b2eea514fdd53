"""What training did not improve, as sentences that come before every table. Compares nothing itself."""

from trainer.scoring.advice.diagnosis import Evidence, diagnose, few_sessions
from trainer.scoring.compare import HEADLINE, Comparison
from trainer.scoring.permutation import FEWEST_SESSIONS

_DECISIONS = {
    "hallucination_rate": "calls a tool more often on turns that need none",
    "missed_call_rate": "leaves out more calls on turns that need one",
}


def shortfalls(comparison: Comparison, evidence: Evidence) -> list[str]:
    """Return sentences on a comparison of a model before and after training; empty if nothing speaks against it.

    The model should have more turns exactly right beyond chance, and should not decide worse whether to call a tool.
    The last sentence is the likely reason, from what else the run has measured, if one shows.
    """
    sentences = [_not_better(comparison)] if comparison.differences[HEADLINE].verdict != "better" else []
    for name, what in _DECISIONS.items():
        row = comparison.differences.get(name)
        if row is not None and row.verdict == "worse":
            sentences.append(f"The trained model {what}: {row.second:.1%} of those turns, {row.first:.1%} before.")
    if not sentences:
        return few_sessions(evidence)
    diagnosis = diagnose(evidence)
    return sentences if diagnosis is None else [*sentences, diagnosis.sentence()]


def _not_better(comparison: Comparison) -> str:
    row = comparison.differences[HEADLINE]
    changed = f"{row.second:.1%} of turns are exactly right, {row.first:.1%} before"
    if row.verdict == "worse":
        return f"Training made the model worse: {changed}."
    if row.p_value is None:
        n = comparison.first.metrics["n_sessions"]
        return f"Too few sessions ({n}; at least {FEWEST_SESSIONS}) to say whether training helped: {changed}."
    return f"Training did not make the model better beyond chance: {changed}."
