"""Say what training did not improve, so that nobody overlooks it in a table. Compares nothing itself."""

from trainer.scoring.compare import HEADLINE, Comparison
from trainer.scoring.permutation import FEWEST_SESSIONS

_DECISIONS = {
    "hallucination_rate": "it calls a tool where none is due more often",
    "missed_call_rate": "it leaves out due calls more often",
}


def shortfalls(comparison: Comparison) -> list[str]:
    """Return sentences on a comparison of a model before and after training; empty if nothing speaks against it.

    The model should have more turns exactly right beyond chance, and should not decide worse whether to call a tool.
    """
    sentences = [_not_better(comparison)] if comparison.differences[HEADLINE].verdict != "better" else []
    for name, what in _DECISIONS.items():
        row = comparison.differences.get(name)
        if row is not None and row.verdict == "worse":
            sentences.append(f"After training, {what}: {row.second:.1%} of these turns, {row.first:.1%} before.")
    return sentences


def _not_better(comparison: Comparison) -> str:
    row = comparison.differences[HEADLINE]
    changed = f"{row.second:.1%} of turns are exactly right, {row.first:.1%} before"
    if row.verdict == "worse":
        return f"Training made the model worse: {changed}."
    if row.p_value is None:
        n = comparison.first.metrics["n_sessions"]
        return f"Too few sessions ({n}; at least {FEWEST_SESSIONS}) to say whether training helped: {changed}."
    return f"Training did not make the model better beyond chance: {changed}."
