"""Measure on simulated sessions how often the intervals cover the truth, and how often equal models get a verdict.

Coverage: sessions of 6 to 14 turns, whose turns are right with a probability of the session (beta-binomial). The
project's interval is compared with the percentile bootstrap over sessions. False stars: two equal models answer the
same turns, and every comparison goes through the scorer.

Example: python benchmarks/intervals.py --json intervals.json
"""

import argparse
import json
import platform
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from trainer.scoring.compare import HEADLINE, compare
from trainer.scoring.intervals import COVERAGE, rate_interval
from trainer.scoring.rates import FloatArray
from trainer.types import Call, ParsedCall, Prediction, Tool

SESSIONS, RATES, CORRELATIONS = (10, 30, 60), (0.87, 0.95, 0.99), (0.05, 0.15, 0.3)
FEWEST_TURNS, MOST_TURNS = 6, 14
LEAST_COVERAGE = 0.93
MOST_FALSE_STARS = {"headline": 0.06, "any": 0.08}
N_RESAMPLES = 500
TOOLS: tuple[Tool, ...] = tuple(
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {"a": {}}}}}
    for name in ("f", "g", "h")
)
NAMES = tuple(tool["function"]["name"] for tool in TOOLS)


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, print both tables, and return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000, metavar="N", help="per cell (default: 1000)")
    parser.add_argument("--comparisons", type=int, default=500, metavar="N", help="of equal models (default: 500)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures as JSON")
    args = parser.parse_args(argv)
    rng = np.random.default_rng(0)
    coverage = [measure_coverage(rng, *cell, n=args.simulations) for cell in product(SESSIONS, RATES, CORRELATIONS)]
    print_rows(coverage)
    stars = [measure_stars(rng, n_sessions, n=args.comparisons) for n_sessions in (10, 30)]
    print_rows(stars)
    if args.json is not None:
        result = {"machine": platform.machine(), "coverage": coverage, "false_stars": stars}
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    is_good = all(row["project"] >= LEAST_COVERAGE for row in coverage)
    return 0 if is_good and all(row[key] <= most for row in stars for key, most in MOST_FALSE_STARS.items()) else 1


def measure_coverage(
    rng: np.random.Generator, n_sessions: int, rate: float, correlation: float, *, n: int
) -> dict[str, Any]:
    """Return how often both intervals cover the true rate in `n` simulations, and their mean widths."""
    covered, widths = np.zeros(2), np.zeros(2)
    for _ in range(n):
        sizes = rng.integers(FEWEST_TURNS, MOST_TURNS + 1, size=n_sessions)
        right = rng.binomial(sizes, session_rates(rng, n_sessions, rate, correlation)).astype(float)
        turns = sizes.astype(float)
        interval = rate_interval(turns - right, turns, n_trials=float(turns.sum()))
        assert interval is not None
        for side, (low, high) in enumerate((interval, bootstrap(rng, right, turns))):
            covered[side] += low <= rate <= high
            widths[side] += high - low
    return {
        "sessions": n_sessions,
        "rate": rate,
        "correlation": correlation,
        "project": covered[0] / n,
        "bootstrap": covered[1] / n,
        "width": {"project": round(widths[0] / n, 4), "bootstrap": round(widths[1] / n, 4)},
    }


def session_rates(rng: np.random.Generator, n_sessions: int, rate: float, correlation: float) -> FloatArray:
    """Return a rate for every session, from the beta distribution with this mean and within-session correlation."""
    total = 1 / correlation - 1
    return rng.beta(rate * total, (1 - rate) * total, size=n_sessions)


def bootstrap(rng: np.random.Generator, right: FloatArray, turns: FloatArray) -> tuple[float, float]:
    """Return the percentile interval of a rate over resampled sessions."""
    drawn = rng.integers(len(turns), size=(N_RESAMPLES, len(turns)))
    rates = right[drawn].sum(axis=1) / turns[drawn].sum(axis=1)
    low, high = np.quantile(rates, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def measure_stars(rng: np.random.Generator, n_sessions: int, *, n: int) -> dict[str, Any]:
    """Return how often a comparison of equal models finds a difference: on the headline, and on any rate."""
    headline = any_rate = 0
    for _ in range(n):
        found = compare(*equal_models(rng, n_sessions), TOOLS).differences
        headline += found[HEADLINE].verdict is not None
        any_rate += any(row.verdict is not None for row in found.values())
    return {"sessions": n_sessions, "headline": headline / n, "any": any_rate / n}


def equal_models(rng: np.random.Generator, n_sessions: int) -> tuple[list[Prediction], list[Prediction]]:
    """Return the predictions of two models that are equally good, and differ in which turns they get right."""
    sides: tuple[list[Prediction], list[Prediction]] = ([], [])
    for session in range(n_sessions):
        ease = float(session_rates(rng, 1, 0.85, 0.15)[0])
        for turn in range(int(rng.integers(FEWEST_TURNS, MOST_TURNS + 1))):
            gold = (Call(str(rng.choice(NAMES)), {"a": turn}),) if rng.random() < 0.5 else ()
            for side in sides:
                side.append(prediction(session, turn, gold, answer(rng, gold, ease)))
    return sides


def answer(rng: np.random.Generator, gold: tuple[Call, ...], ease: float) -> tuple[Call, ...]:
    """Return the calls of an answer: the right ones, or those of a common mistake."""
    if rng.random() < ease:
        return gold
    wrong = Call(str(rng.choice(NAMES)), {"a": -1, "b": 0})
    if not gold:
        return (wrong,)
    mistakes = ((), (Call(gold[0].name, {"a": -1}),), (wrong,), (*gold, wrong))
    return mistakes[int(rng.integers(len(mistakes)))]


def prediction(session: int, turn: int, gold: tuple[Call, ...], calls: tuple[Call, ...]) -> Prediction:
    """Return the record of one simulated answer."""
    attempts = tuple(ParsedCall("ok", "", n, n + 1, call.name, call.arguments) for n, call in enumerate(calls))
    return Prediction(
        session_id=f"s{session:04}",
        turn=turn,
        context_hash="",
        tool_names=NAMES,
        gold_content="",
        gold_calls=gold,
        text="",
        content="",
        calls=attempts,
        finish_reason="stop",
    )


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Print a Markdown table with a column for every key."""
    flat = [flatten(row) for row in rows]
    print(f"| {' | '.join(flat[0])} |\n|{'---:|' * len(flat[0])}")
    for row in flat:
        print(f"| {' | '.join(str(round(value, 3)) for value in row.values())} |")
    print(flush=True)


def flatten(row: dict[str, Any]) -> dict[str, float]:
    """Return the row with the members of inner objects as columns of their own."""
    flat: dict[str, float] = {}
    for key, value in row.items():
        flat |= {f"{key} {name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return flat


if __name__ == "__main__":
    raise SystemExit(main())
