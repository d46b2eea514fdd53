"""Train what a plan lacks, and keep everything measured in `curve.json`. Decides nothing about the numbers."""

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from trainer.errors import RunInterrupted
from trainer.learning_curve.measured import (
    Figures,
    MeasuredShare,
    evaluations_of,
    final_turns,
    read_base,
    read_share,
)
from trainer.learning_curve.plan import Plan, PlannedRun, planned_json
from trainer.learning_curve.verdict import Verdict, judge_curve
from trainer.reports.writing import write_report
from trainer.run_layout import FINAL, RunLayout
from trainer.scoring.saved import read_saved
from trainer.side_by_side.comparing import compare_sides
from trainer.side_by_side.comparison_page import comparison_page
from trainer.side_by_side.sides import read_side, tools_of
from trainer.training.train import train_run
from trainer.util.files import replace_json
from trainer.util.messages import is_first_process

CURVE_FILE = "curve.json"
COMPARISON_FILE = "comparison.html"


@dataclass(frozen=True, slots=True)
class Curve:
    """What the runs measured, the smallest share first. `verdict` is None until all are finished."""

    folder: Path
    points: tuple[MeasuredShare, ...]
    base: Figures | None
    verdict: Verdict | None


def train_curve(plan: Plan) -> Curve | None:
    """Train the runs of a plan that are not finished, in order, and write the file after each; None on other processes.

    Raises a `ToolSftError` if a run fails, and `RunInterrupted` if a signal ended it.
    """
    for number, run in enumerate(plan.runs):
        if run.state == "finished":
            continue
        _train(run)
        if is_first_process() and number < len(plan.runs) - 1:
            _write(plan, _measured(plan, plan.runs[: number + 1]))
    if not is_first_process():
        return None
    curve = _measured(plan, plan.runs)
    _write(plan, curve)
    write_report(plan.folder / COMPARISON_FILE, lambda: _page(curve))
    return curve


def _train(run: PlannedRun) -> None:
    try:
        train_run(run.cfg)
    except RunInterrupted as error:
        raise RunInterrupted(
            f"stopped in the run of {run.percent}% of the sessions ({run.folder}); the same command goes on",
            error.exit_code,
        ) from error
    gc.collect()  # the next run needs the memory of this one
    torch.cuda.empty_cache()


def _measured(plan: Plan, runs: Sequence[PlannedRun]) -> Curve:
    points = tuple(read_share(run.folder, run.percent) for run in runs)
    base = next((found for run in runs if (found := read_base(run.folder)) is not None), None)
    verdict = _verdict(points) if len(runs) == len(plan.runs) else None
    return Curve(plan.folder, points, base, verdict)


def _verdict(points: Sequence[MeasuredShare]) -> Verdict:
    whole = points[-1].folder
    tools = read_saved(RunLayout(whole).predictions(FINAL)).tools
    return judge_curve([final_turns(point) for point in points], evaluations_of(whole), tools)


def _write(plan: Plan, curve: Curve) -> None:
    value: dict[str, Any] = {
        "planned": [planned_json(run) for run in plan.runs],
        "base": None if curve.base is None else asdict(curve.base),
        "shares": [point.to_json() for point in curve.points],
        "verdict": None if curve.verdict is None else curve.verdict.to_json(),
    }
    replace_json(plan.folder / CURVE_FILE, value)


def _page(curve: Curve) -> str:
    sides = [read_side(str(point.folder)) for point in curve.points]
    return comparison_page(compare_sides(sides, tools_of(sides)))
