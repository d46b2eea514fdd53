"""Several datasets in one run: weights, caps, held-out parts and ids depend on the sessions alone."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import chat_rows
from tests.support.checking import session
from trainer.config import Config, load_config
from trainer.data import DatasetBundle
from trainer.errors import ConfigError, DataError

MakeConfig = Callable[..., Config]
Sources = Callable[..., Config]


@pytest.fixture
def sources(quick_config: MakeConfig, tmp_path: Path) -> Sources:
    """A function that writes named files of rows and returns a configuration that reads them as sources."""

    def make(files: dict[str, list[Any]], *overrides: str, **options: dict[str, Any]) -> Config:
        listed = []
        for name, rows in files.items():
            path = tmp_path / f"{name}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            listed.append({"dataset_name": str(path), **options.get(name, {})})
        cfg = quick_config(
            "data.load_module=chat_rows", f"data.sources={json.dumps(listed)}", "data.dataset_name=null",
            "data.selection_share=0",
            "data.train_split=train", "data.eval_split=test", "data.n_tool_sessions_eval=6", "data.holdout=0.2",
            *overrides,
        )  # fmt: skip
        changed = {"tools_path": None, "sysprompt_path": None}
        return cfg.model_copy(update={"data": cfg.data.model_copy(update=changed)})

    return make


def rows(prefix: str, n: int = 20) -> list[Any]:
    return [session(f"{prefix}{number}", city=f"{prefix}town{number * 7}") for number in range(n)]


def trained(bundle: DatasetBundle) -> Counter[str]:
    return Counter(bundle.train_dataset["session_id"])


def judged(bundle: DatasetBundle) -> set[str]:
    return set(bundle.eval_dataset["session_id"])


def test_sources_are_told_apart_and_hold_out_their_own_share(sources: Sources) -> None:
    bundle = chat_rows.build_datasets(sources({"one": rows("a"), "two": rows("a")}))
    ids = {*trained(bundle), *judged(bundle)}
    assert {name.partition("/")[0] for name in ids} == {"one", "two"}
    assert len(ids) == 40
    assert {name.partition("/")[0] for name in judged(bundle)} == {"one", "two"}
    assert not set(trained(bundle)) & judged(bundle)
    assert any("one.jsonl: " in line and "weight 1" in line for line in bundle.report.lines())


@pytest.mark.parametrize(("weight", "low", "high"), [(0.3, 2, 10), (1, 16, 16), (2, 32, 32), (2.5, 33, 47)])
def test_a_weight_says_how_often_sessions_are_used(weight: float, low: int, high: int, sources: Sources) -> None:
    files = {"one": rows("a"), "two": rows("b")}
    plain = chat_rows.build_datasets(sources(files))
    bundle = chat_rows.build_datasets(sources(files, two={"weight": weight}))
    n_plain = sum(n for name, n in trained(plain).items() if name.startswith("two/"))
    n_used = sum(n for name, n in trained(bundle).items() if name.startswith("two/"))
    assert low / 16 * n_plain - 1 <= n_used <= high / 16 * n_plain + 1
    assert judged(bundle) == judged(plain)
    assert {n: trained(plain)[n] for n in trained(plain) if n.startswith("one/")} == {
        n: trained(bundle)[n] for n in trained(bundle) if n.startswith("one/")
    }


def test_a_cap_limits_the_training_sessions(sources: Sources) -> None:
    bundle = chat_rows.build_datasets(sources({"one": rows("a"), "two": rows("b")}, two={"max_sessions": 3}))
    assert sum(name.startswith("two/") for name in trained(bundle)) == 3


def test_the_choice_depends_on_the_sessions_alone(sources: Sources) -> None:
    options: dict[str, Any] = {"one": {"weight": 0.5}, "two": {"max_sessions": 8}}
    first = chat_rows.build_datasets(sources({"one": rows("a"), "two": rows("b")}, **options))
    swapped = {"two": list(reversed(rows("b"))), "one": list(reversed(rows("a")))}
    second = chat_rows.build_datasets(sources(swapped, **options))
    assert trained(second) == trained(first)
    assert judged(second) == judged(first)
    more = chat_rows.build_datasets(sources({"one": rows("a", 30), "two": rows("b")}, one={"weight": 0.5}))
    assert judged(first) <= judged(more)
    assert not judged(first) & set(trained(more))


def test_layouts_may_differ(sources: Sources) -> None:
    turns = [{"from": "human", "value": "Is it late?"}, {"from": "gpt", "value": "Yes."}]
    other = [{"id": f"x{n}", "conversations": [*turns, {"from": "human", "value": f"{n}?"}, {"from": "gpt", "value": f"{n}!"}]} for n in range(8)]  # fmt: skip # noqa: E501
    bundle = chat_rows.build_datasets(sources({"one": rows("a"), "two": other}, two={"layout": "sharegpt"}))
    assert len(trained(bundle)) + len(judged(bundle)) == 28


def test_a_served_evaluation_judges_the_same_turns(sources: Sources) -> None:
    broken = rows("b")
    for row in broken[::4]:
        row["messages"][0]["contents"] = "x"
    cfg = sources({"one": rows("a"), "two": broken}, "data.on_bad_row=drop")
    bundle = chat_rows.build_datasets(cfg)
    turns = chat_rows.read_turns(cfg)
    assert [(t.session_id, t.turn) for t in turns] == [(e.session_id, e.turn) for e in bundle.tool_eval_examples]
    assert bundle.report.train.n_dropped_sessions + bundle.report.eval.n_dropped_sessions == 5


def test_the_same_file_twice_shows_its_duplicates(sources: Sources) -> None:
    cfg = sources({"one": rows("a", 6), "two": rows("a", 6)})
    bundle = chat_rows.build_datasets(cfg)
    assert bundle.report.warnings["duplicate"] > 0
    with pytest.raises(DataError, match="no source has a split to evaluate on"):
        chat_rows.build_datasets(sources({"one": rows("a"), "two": rows("b")}, "data.holdout=0"))


def test_one_way_of_naming_datasets_is_required(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    for data, message in (
        ("{load_module: chat_rows}", "data.dataset_name   missing; name a dataset, or list several in data.sources"),
        ("{load_module: chat_rows, dataset_name: a, sources: [{dataset_name: b}]}", "given beside data.dataset_name"),
        (
            "{load_module: chat_rows, sources: [{dataset_name: b, weigth: 2}]}",
            r"data.sources[0].weigth   unknown key; did",
        ),
        ("{load_module: chat_rows, sources: [{dataset_name: b, weight: 0}]}", "data.sources[0].weight   got 0"),
    ):
        config.write_text(f"data: {data}\nmodel: {{base_model_name: x}}\n", encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load_config(config)
        assert message in str(caught.value)
