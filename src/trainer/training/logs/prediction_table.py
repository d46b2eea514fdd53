"""A sample of an evaluation's predictions as a table of text, for experiment trackers. Judges nothing."""

import json
from collections.abc import Sequence

from trainer.eval_metrics import Scores
from trainer.types import Call, Prediction
from trainer.util.plain_text import printable
from trainer.util.secrets import hide

COLUMNS = ("session", "turn", "gold", "predicted", "verdict")
MOST_ROWS = 50
_MOST_CHARACTERS = 400  # of one cell


def prediction_rows(predictions: Sequence[Prediction], scores: Scores) -> list[tuple[str, ...]]:
    """Return a row of `COLUMNS` for each turn of the sample, wrong turns first; `scores` are those of the predictions.

    The sample has the same turns in every evaluation of the same data: the first `MOST_ROWS` in the order of their
    hashes, which has nothing to do with sessions.
    """
    judged = sorted(
        zip(predictions, scores.verdicts, strict=True),
        key=lambda pair: (pair[0].context_hash, pair[0].session_id, pair[0].turn),
    )
    worst_first = sorted(judged[:MOST_ROWS], key=lambda pair: bool(pair[1].exact))
    return [
        tuple(
            map(
                _cut,
                (
                    turn.session_id,
                    str(turn.turn),
                    _calls(turn.gold_calls) or turn.gold_content,
                    turn.text,
                    "exact" if verdict.exact else ", ".join(verdict.reasons),
                ),
            )
        )
        for turn, verdict in worst_first
    ]


def _calls(calls: Sequence[Call]) -> str:
    return "\n".join(f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})" for call in calls)


def _cut(text: str) -> str:
    text = hide(printable(text.encode("utf-8", "replace").decode()))
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as a table in Markdown, in which cells have no markup of their own."""
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    lines += [" | ".join(map(_escaped, row)) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _escaped(text: str) -> str:
    for character in "\\`*_[]|":
        text = text.replace(character, f"\\{character}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
