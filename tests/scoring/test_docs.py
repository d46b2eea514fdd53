"""The pages about formats and metrics agree with the code."""

import json
from dataclasses import replace
from typing import Any, get_args

import pytest

from tests.support.quick import ROOT
from tests.support.scoring import tool, turn
from trainer.eval_metrics import TokenLoss, score
from trainer.messages import read_messages
from trainer.messages.alternatives import accepted_answers
from trainer.scoring.rates import RATES
from trainer.tool_calls import formats, get_format
from trainer.tools.schema import Comparator
from trainer.types import Call, CallStatus

DOCS = ROOT / "docs"
FORMATS_PAGE = (DOCS / "tool-call-formats.md").read_text(encoding="utf-8")
PYTHONIC = get_format("pythonic")
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


def test_the_alternatives_of_the_data_page_are_judged_as_the_metrics_page_says() -> None:
    page = (DOCS / "data.md").read_text(encoding="utf-8")
    row = next(block for block in page.split("```json\n")[1:] if '"alternatives"' in block).partition("```")[0]
    asked: Any = {"role": "user", "content": "Which cars?"}
    gold = read_messages([asked, json.loads(row)]).messages[1]
    table = METRICS_PAGE.partition("## Alternatives")[2].partition("## ")[0]
    lines = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `f(") or "| no call" in line]
    assert len(lines) == 5
    for said, verdict in lines:
        found = PYTHONIC.parse(f"[{said.strip().strip('`')}]" if "f(" in said else "Which make?").calls
        one = turn([Call("f", {"make": "VW"})], [Call(call.name or "", call.arguments or {}) for call in found] or "?")
        tools = [tool("f", make={"type": "string"}, color={"type": "string"})]
        scores = score([replace(one, alternatives=accepted_answers(gold))], tools)
        assert bool(scores.verdicts[0].exact) == verdict.strip().startswith("exact"), said


def test_the_defaults_of_the_metrics_page_are_compared_as_it_says() -> None:
    table = METRICS_PAGE.partition("| the schema of `n` |")[2].partition("\n\n")[0]
    rows = [line.split(" | ") for line in table.splitlines() if "`f(n=1)`" in line]
    assert len(rows) == 3
    for schema, _, _, verdict in rows:
        written = schema.strip("| `").partition("`")[0]
        node = {"type": "integer", "default": 1} if written.startswith("the same") else json.loads(written)
        tools = [tool("f", n=node, required=["n"] if "required" in schema else [])]
        scores = score([turn([Call("f", {"n": 1})], [Call("f", {})])], tools)
        assert scores.verdicts[0].exact == verdict.startswith("yes"), schema


def test_every_comparator_is_explained() -> None:
    assert all(f"| `{comparator}` |" in METRICS_PAGE for comparator in get_args(Comparator))
