"""The result of one served model in the end-to-end check, next to the run's own. Starts no server."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import OutputError
from trainer.run_layout import FINAL, RunLayout, ServedLayout

if TYPE_CHECKING:
    from trainer.eval_metrics import Scores

RATES = ("tool_name_f1", "arguments_exact_match", "hallucination_rate", "missed_call_rate", "turn_exact")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one server.

    `rates` are from the lenient reading; `training` are from the run's final state on the same turns, with 95%
    `intervals`; `differs` names the rates that differ beyond chance. The `n_skipped` turns that the run skipped for
    their length are not in any of these, nor in `n_turns` and `n_errors`.
    """

    kind: str
    start_s: float
    eval_s: float
    n_turns: int
    n_skipped: int
    n_errors: int
    rates: dict[str, float | None]
    training: dict[str, float | None]
    intervals: dict[str, list[float]]
    differs: tuple[str, ...]
    n_identical: int
    n_prompts: int
    prompts_agree: bool
    n_answers_compared: int
    answer_agreement: float | None
    format_loss: Any

    @property
    def passes(self) -> bool:
        """Whether the served model behaves like the run's final state, as far as this was measured."""
        is_compared = bool(self.n_turns and self.n_prompts)
        return is_compared and not self.differs and self.prompts_agree and not self.n_errors


def compare(kind: str, run: Path, result: Path, parity: Path, *, start_s: float, eval_s: float) -> Outcome:
    """Compare the answers in folder `result` with the run's own on the same turns. Raises `OutputError`."""
    from trainer.eval_metrics import read_predictions, read_tools
    from trainer.scoring.compare import compare as compare_predictions
    from trainer.server_eval.agreement import pair_up, said

    served = ServedLayout(result)
    pairs = pair_up(read_predictions(served.lenient), read_predictions(RunLayout(run).predictions(FINAL)))
    if n_missing := len(pairs.kept) - len(pairs.served):
        first = next(p for p in pairs.kept if p not in pairs.served)
        raise OutputError(
            f"{run}: its predictions lack turn {first.turn} of session {first.session_id} with this history "
            f"({n_missing} of {len(pairs.kept)} are missing); the data or the prompt has changed since the run, so "
            "train it again"
        )
    tools = read_tools(served.tools)
    paired = compare_predictions(pairs.in_process, pairs.served, tools) if pairs.served else None
    training, served_scores = (paired.first, paired.second) if paired else (None, None)
    found = json.loads(parity.read_text(encoding="utf-8"))
    return Outcome(
        kind=kind,
        start_s=round(start_s, 1),
        eval_s=round(eval_s, 1),
        n_turns=len(pairs.served),
        n_skipped=pairs.n_skipped,
        n_errors=sum(p.finish_reason == "error" for p in pairs.served),
        rates=_metrics(served_scores),
        training=_metrics(training),
        intervals={
            rate: list(span) for rate, span in (training.intervals if training else {}).items() if rate in RATES
        },
        differs=tuple(name for name, row in paired.differences.items() if row.verdict) if paired else (),
        n_identical=sum(said(a) == said(b) for a, b in zip(pairs.served, pairs.in_process, strict=True)),
        n_prompts=found["n_turns"],
        prompts_agree=found["prompts_agree"],
        n_answers_compared=found["n_compared"],
        answer_agreement=found["answer_agreement"],
        format_loss=json.loads(served.metrics.read_text(encoding="utf-8")).get("format_loss"),
    )


def _metrics(scores: "Scores | None") -> dict[str, float | None]:
    return {rate: scores.metrics[rate] if scores else None for rate in RATES}


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print the table of all servers so far."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 110)
    first = outcomes[0]
    table = Table(title=f"Served against in-process, {first.n_turns} turns")
    for name in ("", "final, in process (95%)", *(outcome.kind for outcome in outcomes)):
        table.add_column(name, justify="left" if not name else "right")
    for rate in RATES:
        interval = first.intervals.get(rate)
        span = f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else ""
        cells = [_cell(outcome.rates[rate]) + (" !" if rate in outcome.differs else "") for outcome in outcomes]
        table.add_row(rate, _cell(first.training[rate]) + span, *cells)
    share = [f"{o.n_identical}/{o.n_turns} ({o.n_identical / max(o.n_turns, 1):.1%})" for o in outcomes]
    table.add_row("identical greedy answers", "", *share)
    table.add_row(
        "prompt tokens equal", "", *(f"{'all' if o.prompts_agree else 'NO'} of {o.n_prompts}" for o in outcomes)
    )
    table.add_row("turns without an answer", "", *(str(o.n_errors) for o in outcomes))
    if any(o.n_skipped for o in outcomes):
        table.add_row("skipped for length", "", *(str(o.n_skipped) for o in outcomes))
    table.add_row("seconds to start / to judge", "", *(f"{o.start_s:.0f} / {o.eval_s:.0f}" for o in outcomes))
    table.add_row("passes", "", *("yes" if o.passes else "NO" for o in outcomes))
    console.print(table)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
