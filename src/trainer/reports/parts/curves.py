"""The charts of a run: loss, learning rate and evaluation metrics over steps, lengths of rows and prompts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trainer.reports.charts import Histogram, LineChart, Point, Series, histogram, line_chart

_MOST_BINS = 40


def training_charts(
    history: Sequence[Mapping[str, Any]], base: Mapping[str, Any], *, n_held_out: int = 0
) -> list[LineChart]:
    """Return the charts of a history; those without a line are left out.

    `base` are the metrics before training, at step 0 of the evaluations. If evaluations during training judged
    `n_held_out` training sessions instead of the evaluation split, the base has no place beside them.
    """
    where = f"on {n_held_out} held-out sessions" if n_held_out else "in evaluations"
    base = {} if n_held_out else base
    judged = [{"step": 0, **{f"eval_{key}": value for key, value in base.items()}}, *history]
    loss = [
        series(history, "loss", "training"),
        series(history, "eval_loss", "held out" if n_held_out else "evaluation"),
    ]
    rate = [series(history, "learning_rate", "learning rate")]
    norm = [series(history, "grad_norm", "gradient norm")]
    calls = [
        series(judged, "eval_turn_exact", "turns exactly right"),
        series(judged, "eval_tool_name_f1", "tool name F1"),
        series(judged, "eval_arguments_exact_match", "arguments exact match"),
        series(judged, "eval_hallucination_rate", "hallucinated calls"),
        series(judged, "eval_missed_call_rate", "missed calls"),
    ]
    perplexity = [
        series(judged, "eval_perplexity_call_tokens", "calls"),
        series(judged, "eval_perplexity_prose_tokens", "prose"),
    ]
    charts = (
        line_chart("loss", "Loss", loss, x_name="step", y_name="nats per token", from_zero=True),
        line_chart("rate", "Learning rate", rate, x_name="step", y_name="per step", from_zero=True),
        line_chart("norm", "Gradient norm", norm, x_name="step", y_name="before clipping", from_zero=True),
        line_chart("calls", f"Tool calls {where}", calls, x_name="step", y_name="share", from_zero=True),
        line_chart("perplexity", f"Perplexity {where}", perplexity, x_name="step", y_name="1 is certainty"),
    )
    return [chart for chart in charts if chart is not None and len(chart.table.rows) > 1]


def series(history: Iterable[Mapping[str, Any]], key: str, name: str) -> Series:
    """Return the values of a key over the steps of a history, one for each step; the last one counts."""
    found: dict[float, float] = {}
    for record in history:
        step, value = record.get("step"), record.get(key)
        if _is_number(step) and _is_number(value):
            found[float(step)] = float(value)  # type: ignore[arg-type]
    return Series(name, tuple(Point(step, value) for step, value in sorted(found.items())))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def length_charts(data: Mapping[str, Any], *, max_context_tokens: int | None) -> list[Histogram]:
    """Return the lengths of rows and of evaluation prompts, with the context limit.

    Empty for folders that were written before lengths were recorded.
    """
    parts = (
        ("lengths-train", "Training rows", "rows", _part(data.get("train"))),
        ("lengths-eval", "Evaluation rows", "rows", _part(data.get("eval"))),
        ("lengths-prompts", "Prompts of judged turns", "prompts", data.get("prompt_lengths")),
    )
    charts = (
        _length_chart(key, title, counted, lengths, max_context_tokens)
        for key, title, counted, lengths in parts
        if isinstance(lengths, Mapping)
    )
    return [chart for chart in charts if chart is not None]


def _part(split: Any) -> Any:
    return split.get("lengths") if isinstance(split, Mapping) else None


def _length_chart(
    key: str, title: str, counted: str, lengths: Mapping[str, Any], limit: int | None
) -> Histogram | None:
    width, counts = int(lengths["bin_tokens"]), [int(n) for n in lengths["counts"]]
    edges = [float(width * index) for index in range(len(counts) + 1)]
    longest = f"{title}: the longest has {int(lengths['longest']):,} tokens"
    return histogram(
        key, longest, counts[:_MOST_BINS], edges=edges[: _MOST_BINS + 1], x_name="tokens", y_name=counted,
        limit=limit, limit_name="context limit",
    )  # fmt: skip
