"""Which sessions of several datasets are trained, held out and judged: the same in both kinds of domain."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

import chat_rows
from tests.support.quick import QUICKSTART, ROOT
from trainer.config import Config, load_config
from trainer.data import DatasetBundle
from trainer.data.domains import domain_datasets, domain_turns, load_domain
from trainer.errors import DataError

Row = dict[str, Any]
SHIPPED = [json.loads(line) for line in (ROOT / "data/car_sales/train.jsonl").read_text("utf-8").splitlines()[:60]]


class Given(NamedTuple):
    """One source: the rows of its files, by path, and its keys."""

    files: dict[str, Sequence[Row]]
    keys: Mapping[str, Any] = MappingProxyType({})

    def write(self, folder: Path) -> Row:
        """Write the files; return the source's section. Without a name, several files are the splits of a folder."""
        for name, rows in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        places = [folder / name for name in self.files]
        return {"dataset_name": str(places[0] if len(places) == 1 else places[0].parent), **self.keys}


Make = Callable[..., Config]


@pytest.fixture(params=["car_sales", "chat_rows"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A function that writes sources and returns a configuration of one of the domains that reads them."""

    def configured(*given: Given, **data: Any) -> Config:
        sources = json.dumps([one.write(tmp_path) for one in given])
        keys = {"train_split": "train", "eval_split": "test", "holdout": 0.2, "n_tool_sessions_eval": 100}
        keys |= {"selection_share": 0, **data}
        sections = [f"data.{key}={json.dumps(value)}" for key, value in keys.items()]
        changes = (f"data.load_module={request.param}", f"data.sources={sources}", "data.dataset_name=null")
        return load_config(QUICKSTART, [*changes, *sections])

    return configured


def build(cfg: Config) -> DatasetBundle:
    return domain_datasets(load_domain(cfg), cfg)


def trained(bundle: DatasetBundle) -> Counter[str]:
    return Counter(bundle.train_dataset["session_id"])


def judged(bundle: DatasetBundle) -> set[str]:
    return {example.session_id for example in bundle.tool_eval_examples}


def of_source(counts: Counter[str], label: str) -> dict[str, int]:
    return {name: n for name, n in counts.items() if name.startswith(f"{label}/")}


def test_neither_the_order_of_rows_nor_of_sources_matters(make: Make) -> None:
    one, two = Given({"x/rows.jsonl": SHIPPED[:20]}, {"weight": 0.5}), Given({"y/rows.jsonl": SHIPPED[20:40]})
    two = two._replace(keys={"max_sessions": 7, "weight": 1.5})
    first = build(make(one, two, n_tool_sessions_eval=5))
    backwards = [given._replace(files={name: rows[::-1] for name, rows in given.files.items()}) for given in (two, one)]
    second = build(make(*backwards, n_tool_sessions_eval=5))
    assert trained(second) == trained(first)
    assert set(second.eval_dataset["session_id"]) == set(first.eval_dataset["session_id"])
    assert judged(second) == judged(first)
    assert len(judged(first)) == 5
    assert len(of_source(trained(first), "y/rows")) == 7


@pytest.mark.parametrize("holdout", [0.02, 0.2, 0.98])
def test_a_session_stays_in_its_split_when_rows_are_reversed(make: Make, holdout: float) -> None:
    forth, back = (
        build(make(Given({"rows.jsonl": rows}), holdout=holdout)) for rows in (SHIPPED[:8], SHIPPED[:8][::-1])
    )
    assert trained(forth) == trained(back)
    assert judged(forth) == judged(back)
    assert trained(forth)
    assert judged(forth)


def test_a_session_stays_in_its_split_when_rows_are_added(make: Make) -> None:
    few, many = (build(make(Given({"rows.jsonl": SHIPPED[:n]}))) for n in (20, 60))
    assert len(judged(few)) > 1
    assert judged(few) < judged(many)
    assert set(trained(few)) < set(trained(many))


@pytest.mark.parametrize("weight", [0.3, 1, 2, 2.5])
def test_a_weight_is_how_often_sessions_are_used(make: Make, weight: float) -> None:
    one, two = Given({"one.jsonl": SHIPPED[:10]}), Given({"two.jsonl": SHIPPED[10:60]}, {"weight": weight})
    plain, bundle = build(make(one, two._replace(keys={}))), build(make(one, two))
    before, after = (of_source(trained(found), "two") for found in (plain, bundle))
    assert set(after) <= set(before)
    assert set(after.values()) <= {int(weight) or 1, -int(-weight // 1)}
    assert sum(after.values()) == pytest.approx(weight * len(before), abs=0 if weight == int(weight) else 8)
    assert (set(after) == set(before)) == (weight >= 1)
    assert of_source(trained(bundle), "one") == of_source(trained(plain), "one")
    assert judged(bundle) == judged(plain)
    _, report = bundle.report.sources
    assert (report.n_train_sessions, report.n_train_uses) == (len(after), sum(after.values()))


def test_the_report_has_a_line_for_each_source(make: Make, tmp_path: Path) -> None:
    one = Given({"one/train.jsonl": SHIPPED[:10], "one/test.jsonl": SHIPPED[10:13]}, {"weight": 2})
    two = Given({"two.jsonl": SHIPPED[20:40]}, {"max_sessions": 4})
    lines = build(make(one, two, holdout=0)).report.lines()
    assert lines[0] == f"{tmp_path}/one: 10 training sessions, weight 2, used 20 times per epoch; 3 evaluation sessions"
    assert lines[1] == f"{tmp_path}/two.jsonl: 4 training sessions, weight 1; 0 evaluation sessions"
    assert lines[2].startswith("train: 14 sessions, 14 rows, ")
    assert lines[3].startswith("eval: 3 sessions, 3 rows, ")
    (single,) = [line for line in build(make(one)).report.lines() if "weight" in line]
    assert single == lines[0]


def test_a_source_of_which_a_weight_leaves_nothing_is_left_out(make: Make) -> None:
    one, two = Given({"one.jsonl": SHIPPED[:10]}), Given({"two.jsonl": SHIPPED[10:20]}, {"weight": 0.001})
    bundle = build(make(one, two))
    assert {name.partition("/")[0] for name in trained(bundle)} == {"one"}
    assert {name.partition("/")[0] for name in judged(bundle)} == {"one", "two"}
    with pytest.raises(DataError, match="no session is left to train on"):
        build(make(two))


def test_a_source_without_a_second_split_holds_out_its_share_unless_that_is_zero(make: Make) -> None:
    one = Given({"one/train.jsonl": SHIPPED[:10], "one/test.jsonl": SHIPPED[10:14]})
    two = Given({"two.jsonl": SHIPPED[20:40]})
    held = build(make(one, two))
    assert len(of_source(Counter(held.eval_dataset["session_id"]), "one")) == 4
    assert 0 < len(of_source(Counter(held.eval_dataset["session_id"]), "two")) < 10
    assert len(of_source(trained(held), "one")) == 10
    kept = build(make(one, two, holdout=0))
    assert len(of_source(trained(kept), "two")) == 20
    assert len(kept.eval_dataset) == 4


def test_equal_ids_of_two_sources_stay_apart(make: Make) -> None:
    renamed = [{**row, "session_id": other["session_id"]} for row, other in zip(SHIPPED[10:20], SHIPPED, strict=False)]
    bundle = build(make(Given({"one.jsonl": SHIPPED[:10]}), Given({"two.jsonl": renamed})))
    names = [*trained(bundle), *bundle.eval_dataset["session_id"]]
    assert len(names) == len(set(names)) == 20
    assert {name.partition("/")[2] for name in names} == {row["session_id"] for row in SHIPPED[:10]}


def test_the_same_file_twice_holds_out_the_same_sessions(make: Make) -> None:
    given = Given({"rows.jsonl": SHIPPED[:20]})
    bundle = build(make(given, given._replace(keys={"weight": 2})))
    used = {label: of_source(trained(bundle), label) for label in ("rows#1", "rows#2")}
    sessions = [{name.partition("/")[2] for name in of_source(trained(bundle), label)} for label in used]
    assert sessions[0] == sessions[1]
    assert sorted(set(counts.values()) == {2} for counts in used.values()) == [False, True]
    assert not sessions[0] & {name.partition("/")[2] for name in judged(bundle)}
    assert bundle.report.warnings["duplicate"] > 0
    assert [source.n_eval_sessions for source in bundle.report.sources] == [len(judged(bundle)) // 2] * 2


@pytest.mark.parametrize("n_judged", [9, 100])
def test_a_served_evaluation_judges_the_sessions_of_training(make: Make, n_judged: int) -> None:
    unreadable, repeated, invalid = SHIPPED[40], SHIPPED[41], SHIPPED[42]
    call = next(call for message in invalid["conversation"] for call in message["tool_calls"] or ())
    broken = json.loads(json.dumps(invalid).replace(json.dumps(call["function"]["arguments"]), '"{\\"no\\": 1}"'))
    nobody = {**unreadable, "conversation": [{**unreadable["conversation"][0], "role": "robot"}]}
    rows = [*SHIPPED[20:24], nobody, repeated, {**SHIPPED[43], "session_id": repeated["session_id"]}, broken]
    one = Given({"one/train.jsonl": SHIPPED[:10], "one/test.jsonl": rows})
    two = Given({"two.jsonl": [*SHIPPED[24:40], {**nobody, "session_id": "other"}]})
    cfg = make(one, two, on_bad_row="drop", n_tool_sessions_eval=n_judged)
    bundle, turns = build(cfg), domain_turns(load_domain(cfg), cfg)
    assert bundle.report.eval.n_dropped_sessions == 3
    assert (f"one/{repeated['session_id']}" in judged(bundle)) or n_judged == 9
    assert f"one/{invalid['session_id']}" not in judged(bundle)
    expected = [(example.session_id, example.turn, example.messages) for example in bundle.tool_eval_examples]
    assert [(turn.session_id, turn.turn, turn.messages) for turn in turns] == expected
    strict = make(one, two)
    with pytest.raises(DataError) as caught:
        domain_turns(load_domain(strict), strict)
    assert "robot" in str(caught.value)
    assert "repeats the session id" in str(caught.value)
    assert "correct the call" in str(caught.value)


def test_a_row_s_number_is_its_session_id_also_if_it_is_zero(tmp_path: Path) -> None:
    rows = [{"id": number, "messages": row["conversation"]} for number, row in enumerate(SHIPPED[:4])]
    section = Given({"rows.jsonl": rows}).write(tmp_path)
    changes = [f"data.{key}={value}" for key, value in section.items()]
    opened = chat_rows.open_rows(
        load_config(QUICKSTART, ["data.load_module=chat_rows", *changes, "data.train_split=train"])
    )
    parts = (*opened.train, *opened.evaluation)
    ids = {part.reader.row_id(row): part.reader.read(row).session.session_id for part in parts for row in part.rows}
    assert ids == {str(number): str(number) for number in range(4)}
