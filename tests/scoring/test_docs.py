"""The pages about formats and metrics agree with the code."""

from typing import get_args

import pytest

from tests.support.quick import ROOT
from trainer.eval_metrics import TokenLoss, score
from trainer.scoring.rates import RATES
from trainer.tool_calls import formats, get_format
from trainer.tools.schema import Comparator
from trainer.types import Call, CallStatus

DOCS = ROOT / "docs"
FORMATS_PAGE = (DOCS / "tool-call-formats.md").read_text(encoding="utf-8")
METRICS_PAGE = (DOCS / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", formats())
def test_every_format_is_shown_as_the_code_writes_it(name: str) -> None:
    fmt = get_format(name)
    row = next(line for line in FORMATS_PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    assert row.endswith(f"| `{fmt.vllm_parser}` |" if fmt.vllm_parser else "| – |")
    assert f"~~~text\n{fmt.render([Call('f', {'a': 1, 'b': 'x'})])}\n~~~" in FORMATS_PAGE


def test_every_status_is_explained() -> None:
    assert all(f"| `{status}` |" in FORMATS_PAGE for status in get_args(CallStatus))


def test_every_metric_is_defined() -> None:
    for rate in RATES:
        arrow = {"higher": "↑", "lower": "↓"}[rate.better]
        assert f"| `{rate.name}` | {arrow} | {rate.meaning} |" in METRICS_PAGE
    explained = {*score([], []).metrics, *TokenLoss().metrics()} - {"n_call_tokens", "n_prose_tokens"}
    assert {name for name in explained if f"`{name}`" not in METRICS_PAGE} == set()


def test_every_comparator_is_explained() -> None:
    assert all(f"| `{comparator}` |" in METRICS_PAGE for comparator in get_args(Comparator))
