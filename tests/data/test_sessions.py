"""Evaluation turns are the same with and without tokens, and reading them needs no torch."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import car_sales
from tests.support.served import served_config
from trainer.data.domains import domain_turns
from trainer.errors import ConfigError, DataError
from trainer.scoring.predictions import context_hash
from trainer.types import EvalTurn

FIELDS = ("session_id", "turn", "messages", "tools", "gold_content", "gold_calls")


@pytest.mark.parametrize("n_judged", [2, 5])
def test_turns_without_tokens_are_exactly_those_of_training(n_judged: int, tmp_path: Path) -> None:
    cfg = served_config(tmp_path, "data.train_split=train[:2]", f"data.n_tool_sessions_eval={n_judged}", n_sessions=5)
    examples = car_sales.build_datasets(cfg).tool_eval_examples
    turns = car_sales.read_turns(cfg)
    assert len({turn.session_id for turn in turns}) == n_judged
    assert [_fields(turn) for turn in turns] == [_fields(example) for example in examples]
    assert [context_hash(t.messages, t.tools) for t in turns] == [context_hash(e.messages, e.tools) for e in examples]


def test_context_turns_are_not_judged(tmp_path: Path) -> None:
    row = json.loads(Path("data/car_sales/test.jsonl").read_text(encoding="utf-8").splitlines()[0])
    before = _turns_of_rows([row], tmp_path / "all")
    first = next(i for i, message in enumerate(row["conversation"]) if message["role"] == "assistant")
    row["conversation"][first]["train"] = False
    assert [t.turn for t in _turns_of_rows([row], tmp_path / "some")] == [t.turn for t in before if t.turn != first + 1]


def test_the_error_of_a_broken_row_names_file_and_line(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path("data/car_sales/test.jsonl").read_text(encoding="utf-8").splitlines()[:2]]
    rows[1]["conversation"][0]["role"] = "robot"
    with pytest.raises(DataError, match=rf"test.jsonl:2: session {rows[1]['session_id']}: turn 1: role is the"):
        _turns_of_rows(rows, tmp_path)
    rows[1] = rows[0]
    with pytest.raises(DataError, match=r"test.jsonl:2: session \S+: the row repeats the session id of .*test.jsonl:1"):
        _turns_of_rows(rows, tmp_path)


@pytest.mark.parametrize("bad", [None, "", 3, ["s"]])
def test_a_row_without_a_session_id_is_named(tmp_path: Path, bad: object) -> None:
    rows = [json.loads(line) for line in Path("data/car_sales/test.jsonl").read_text(encoding="utf-8").splitlines()[:2]]
    rows[1]["session_id"] = bad
    if isinstance(bad, (int, list)):  # a column has one type
        rows[0]["session_id"] = bad
    with pytest.raises(DataError, match=r"test\.jsonl:[12]: session_id is .*; must be a non-empty string"):
        _turns_of_rows(rows, tmp_path)


def test_a_domain_without_read_turns_uses_the_turns_of_its_datasets(tmp_path: Path) -> None:
    domain = ModuleType("plain_domain")
    cfg = served_config(tmp_path, "data.train_split=train[:2]")
    built = car_sales.build_datasets(cfg)
    domain.build_datasets = lambda cfg: tuple(built)  # type: ignore[attr-defined]
    assert domain_turns(domain, cfg) == built.tool_eval_examples


def test_without_torch_a_domain_that_needs_it_is_an_error_that_names_read_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_datasets(cfg: Any) -> Any:
        import torch

        return torch

    monkeypatch.setitem(sys.modules, "torch", None)
    domain = ModuleType("heavy_domain")
    domain.build_datasets = build_datasets  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"heavy_domain has no read_turns\(cfg\).* needs torch"):
        domain_turns(domain, served_config(tmp_path))


def _fields(turn: EvalTurn) -> list[Any]:
    return [getattr(turn, name) for name in FIELDS]


def _turns_of_rows(rows: list[dict[str, Any]], folder: Path) -> list[EvalTurn]:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "test.jsonl").write_text(text, encoding="utf-8")
    overrides = (f"data.dataset_name={folder}", "data.eval_split=test")
    return car_sales.read_turns(served_config(folder, *overrides))
