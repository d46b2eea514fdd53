"""Write the report of a load test as one self-contained HTML file: a table and SVG plots. Measures nothing."""

import html
import math
from collections.abc import Mapping, Sequence

from trainer.server_eval.load import PERCENTILES, LevelResult

_WIDTH, _HEIGHT = 320, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 40
_COLOURS = ("#0b6e99", "#d9730d", "#ad1a72")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8884; }}
figure {{ display: inline-block; margin: 1rem 1rem 0 0; }}
svg text {{ fill: currentColor; font-size: 11px; }}
svg .grid {{ stroke: #8884; }}
</style></head><body>
<h1>{title}</h1>
<p>{notes} Times in milliseconds: p50 / p90 / p99. Everything is about cold prompts, which the server has not cached;
the columns and the plot named warm are the same requests sent again.</p>
{table}
{figures}
{errors}
</body></html>
"""


def report_html(title: str, levels: Sequence[LevelResult], *, notes: str) -> str:
    """Return the whole page. `notes` describes what was measured, and where."""
    percentile_names = [f"p{q}" for q in PERCENTILES]
    warm = [level.warm for level in levels if level.warm is not None]
    figures = []
    for name, attribute, shown in (
        ("Time to first token, cold prompts (ms)", "first_token_s", levels),
        ("Time to first token, warm prompts (ms)", "first_token_s", warm),
        ("Time per output token (ms)", "per_token_s", levels),
        ("Whole answer (ms)", "latency_s", levels),
    ):
        lines = {p: [_ms(getattr(level, attribute)[p]) for level in shown] for p in percentile_names}
        figures += [_figure(name, shown, lines)] if shown else []
    figures.append(_figure("Output tokens per second", levels, {"": [level.output_tokens_per_s for level in levels]}))
    errors = [
        f"<li>concurrency {level.concurrency}: {n} × {html.escape(text)}</li>"
        for level in [*levels, *warm]
        for text, n in level.errors.items()
    ]
    return _PAGE.format(
        title=html.escape(title),
        notes=html.escape(notes),
        table=_table(levels),
        figures="\n".join(figures),
        errors=f"<h2>Errors</h2><ul>{''.join(errors)}</ul>" if errors else "",
    )


HEADER = (
    "concurrency",
    "requests",
    "errors",
    "first token, cold",
    "first token, warm",
    "cached, cold / warm",
    "requests/s",
    "output tokens/s",
    "per output token",
    "whole answer",
)


def table_rows(levels: Sequence[LevelResult]) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row per concurrency, in the order of `HEADER`."""
    return [
        (
            str(level.concurrency),
            str(level.n_requests),
            str(level.n_errors),
            _times(level.first_token_s),
            _times(level.warm.first_token_s) if level.warm is not None else "–",
            f"{_share(level)} / {_share(level.warm)}",
            f"{level.requests_per_s:.2f}",
            f"{level.output_tokens_per_s:.1f}",
            _times(level.per_token_s),
            _times(level.latency_s),
        )
        for level in levels
    ]


def _times(seconds: Mapping[str, float | None]) -> str:
    return " / ".join(_number(_ms(seconds[f"p{q}"])) for q in PERCENTILES)


def _share(level: LevelResult | None) -> str:
    return "–" if level is None or level.cached_share is None else f"{level.cached_share:.0%}"


def _table(levels: Sequence[LevelResult]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in HEADER)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in table_rows(levels))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _figure(title: str, levels: Sequence[LevelResult], lines: dict[str, list[float | None]]) -> str:
    """Return a plot with one line per entry of `lines` over the evenly spaced concurrencies."""
    top = _round_up(max((value for line in lines.values() for value in line if value is not None), default=1.0))
    span = max(len(levels) - 1, 1)
    xs = [
        _LEFT + (_WIDTH - _LEFT - _RIGHT) * (index / span if len(levels) > 1 else 0.5) for index in range(len(levels))
    ]
    parts = []
    for step in range(5):
        value = top * step / 4
        y = _y(value, top)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    for x, level in zip(xs, levels, strict=True):
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{level.concurrency}</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">concurrency</text>')
    for line, colour in zip(lines.values(), _COLOURS, strict=False):
        points = [(x, _y(value, top)) for x, value in zip(xs, line, strict=True) if value is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    body = "".join(parts)
    svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img">{body}</svg>'
    legend = "".join(
        f' <b style="color: {colour}">{name}</b>' for name, colour in zip(lines, _COLOURS, strict=False) if name
    )
    return f"<figure><figcaption>{title}{legend}</figcaption>{svg}</figure>"


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value / top


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, … at or above a value."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= value * 0.999)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"
