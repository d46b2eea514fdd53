"""Show answers side by side: gold's calls and a model's, with every difference marked. Judges nothing."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from trainer.reports.parts.judged import JudgedState
from trainer.reports.text import shortened
from trainer.reports.views import AnswerView, ArgumentView, Badge, CallView, Tone
from trainer.scoring.judging import JudgedTurn, well_formed
from trainer.scoring.matching import expected_arguments
from trainer.tools.differences import ComparedPath, PathKind, compared_paths
from trainer.tools.schema import MISSING
from trainer.tools.validation import ToolSpecs
from trainer.types import Call, ParsedCall, Prediction

MOST_TEXT = 1500
_MOST_VALUE = 400
_MOST_PATHS = 60

KIND_TEXTS: Mapping[PathKind, str] = {
    "same": "same",
    "other_value": "other value",
    "wrong_type": "wrong type",
    "missing": "missing",
    "additional": "additional",
}
STATUS_TEXTS = {
    "invalid_json": "not valid JSON",
    "unclosed": "not closed",
    "missing_name": "has no name",
    "bad_arguments": "arguments are not an object",
    "truncated": "cut off",
}
_ENDINGS = {
    "length": "The answer was cut at the token limit.",
    "error": "There is no answer.",
    "skipped_for_length": "The model was not asked: prompt and answer do not fit in the context.",
}


def paths_of_pair(prediction: Prediction, judged: JudgedTurn, index: int, specs: ToolSpecs) -> list[ComparedPath]:
    """Return the compared paths of one pair of matched calls, given by its index in `judged.pairs`."""
    pair = judged.pairs[index]
    gold, found = judged.answer[pair.gold], well_formed(prediction.calls)[pair.predicted]
    node = specs.node(gold.name)
    return compared_paths(expected_arguments(gold, found.arguments, node), found.arguments, node)


def gold_answer(state: JudgedState, prediction: Prediction, judged: JudgedTurn, *, title: str = "gold") -> AnswerView:
    """Return the calls that a turn was compared with, marked with what the prediction lacks, and gold's text."""
    calls = judged.answer if judged.answer or not prediction.gold_calls else prediction.gold_calls
    is_other = judged.verdict.exact is not None and calls != prediction.gold_calls
    pair_of = {pair.gold: index for index, pair in enumerate(judged.pairs)}
    views = []
    for index, call in enumerate(calls):
        if index not in pair_of:
            views.append(CallView(call.name, "warn", _plain_arguments(call), note=_unmatched(judged, "not made")))
            continue
        paths = paths_of_pair(prediction, judged, pair_of[index], state.specs(prediction))
        views.append(CallView(call.name, "plain", _arguments(paths, "gold")))
    note = "An accepted alternative, which fits the answer best." if is_other else None
    return AnswerView(title, tuple(views), shortened(prediction.gold_content, most=MOST_TEXT), note=note)


def gold_alone(prediction: Prediction) -> AnswerView:
    """Return gold's calls and text without marks, for a turn with several predictions."""
    calls = tuple(CallView(call.name, "plain", _plain_arguments(call)) for call in prediction.gold_calls)
    return AnswerView("gold", calls, shortened(prediction.gold_content, most=MOST_TEXT))


def model_answer(state: JudgedState, prediction: Prediction, judged: JudgedTurn, *, title: str) -> AnswerView:
    """Return a model's calls, each marked by how it differs from gold, its text, and how it was judged."""
    specs = state.specs(prediction)
    pair_of = {pair.predicted: index for index, pair in enumerate(judged.pairs)}
    views, n_read = [], -1
    for attempt in prediction.calls:
        if attempt.status != "ok" or attempt.arguments is None or attempt.name is None:
            views.append(_failed_call(attempt))
            continue
        n_read += 1
        if n_read not in pair_of:
            call = Call(attempt.name, attempt.arguments)
            views.append(CallView(call.name, "bad", _plain_arguments(call), note=_unmatched(judged, "not in gold")))
            continue
        index = pair_of[n_read]
        paths = paths_of_pair(prediction, judged, index, specs)
        tone: Tone = "good" if judged.pairs[index].exact else "bad"
        views.append(CallView(attempt.name, tone, _arguments(paths, "predicted"), note=_violations(attempt, specs)))
    ending = _ENDINGS.get(prediction.finish_reason)
    note = " ".join(part for part in (ending, prediction.error) if part) or None
    text = shortened(prediction.content, most=MOST_TEXT)
    return AnswerView(title, tuple(views), text, badges=(verdict_badge(judged),), note=note)


def verdict_badge(judged: JudgedTurn) -> Badge:
    """Return whether a turn is exact, in one word."""
    exact = judged.verdict.exact
    if exact is None:
        return Badge("not asked", "warn")
    return Badge("✓ exact", "good") if exact else Badge("✗ not exact", "bad")


def json_text(value: Any, *, most: int = _MOST_VALUE) -> str:
    """Return a value as JSON, cut if it is long; "–" for a value that is not there."""
    if value is MISSING:
        return "–"
    return shortened(json.dumps(value, ensure_ascii=False), most=most)


def _failed_call(attempt: ParsedCall) -> CallView:
    note = STATUS_TEXTS.get(attempt.status, attempt.status)
    return CallView(attempt.name or "call", "bad", raw=shortened(attempt.raw, most=MOST_TEXT), note=note)


def _unmatched(judged: JudgedTurn, text: str) -> str | None:
    return text if judged.verdict.exact is False else None


def _violations(attempt: ParsedCall, specs: ToolSpecs) -> str | None:
    if attempt.name not in specs or attempt.arguments is None:
        return None
    found = specs.violations(Call(str(attempt.name), attempt.arguments))
    return f"breaks the schema: {'; '.join(violation.message for violation in found[:3])}" if found else None


def _plain_arguments(call: Call) -> tuple[ArgumentView, ...]:
    return _arguments(compared_paths(call.arguments, call.arguments), "gold")


def _arguments(paths: Sequence[ComparedPath], side: Literal["gold", "predicted"]) -> tuple[ArgumentView, ...]:
    """The paths that one side has, with their marks."""
    views = []
    for path in paths:
        value = path.gold if side == "gold" else path.predicted
        if value is MISSING:
            continue
        mark: Any = path.kind if path.kind in ("same", "missing", "additional") else "changed"
        views.append(ArgumentView(path.path, json_text(value), mark, None if mark == "same" else KIND_TEXTS[path.kind]))
    if len(views) > _MOST_PATHS:
        rest = ArgumentView("…", f"{len(views) - _MOST_PATHS} more values")
        views = [*sorted(views, key=lambda view: view.mark == "same")[:_MOST_PATHS], rest]
    return tuple(views)
