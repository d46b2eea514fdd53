"""A domain may return this project's bundle or a plain tuple of five; anything else is refused with its name."""

import dataclasses
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import car_sales
from trainer.config import Config
from trainer.data import DatasetBundle
from trainer.data.bundle import as_bundle
from trainer.data.domains import domain_datasets
from trainer.errors import DataError
from trainer.training.train import train_run

MakeConfig = Callable[..., Config]
TOKENS = ("input_ids", "labels", "attention_mask")


def plain_domain(monkeypatch: pytest.MonkeyPatch, change: Callable[[tuple[Any, ...]], Any]) -> str:
    """Return the name of a domain whose `build_datasets` returns the five values of car sales, changed."""
    domain = ModuleType("plain_domain")
    domain.build_datasets = lambda cfg: change(tuple(car_sales.build_datasets(cfg)))  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "plain_domain", domain)
    return "data.load_module=plain_domain"


def tokens_only(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the same tuple with rows that contain only tokens."""
    return (*(rows.select_columns(list(TOKENS)) for rows in values[:2]), *values[2:])


def test_a_bundle_is_frozen_and_unpacks(quick_config: MakeConfig) -> None:
    cfg = quick_config()
    bundle = car_sales.build_datasets(cfg)
    train, judged, examples, tools, max_ctx = bundle
    assert len(bundle) == 5
    assert (train, judged, examples, tools, max_ctx) == tuple(bundle)
    with pytest.raises(dataclasses.FrozenInstanceError):
        bundle.max_ctx = 1  # type: ignore[misc]
    assert as_bundle(bundle, cfg, domain="car_sales") is bundle


def test_a_plain_tuple_trains_the_same(quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    little = ("data.train_split=train[:2]", "data.n_tool_sessions_eval=1", "train.max_steps=1")
    folder = quick_config().output_dir
    usual = train_run(quick_config(*little, f"train.output_dir={folder / 'usual'}"))
    for name, change in (("tuple", tuple), ("tokens", tokens_only)):
        domain = plain_domain(monkeypatch, change)
        plain = train_run(quick_config(*little, domain, f"train.output_dir={folder / name}"))
        for state in ("base", "final"):
            assert plain.states[state]["turn_exact"] == usual.states[state]["turn_exact"]
            assert plain.states[state]["n_turns"] == usual.states[state]["n_turns"]
            assert plain.states[state]["perplexity"] == pytest.approx(usual.states[state]["perplexity"], rel=1e-5)


def test_rows_of_a_plain_tuple_are_counted(quick_config: MakeConfig) -> None:
    cfg = quick_config()
    built = car_sales.build_datasets(cfg)
    plain = as_bundle(tuple(built), cfg, domain="plain").report
    known = built.report.train
    # Answers are counted from messages, which a plain tuple does not have.
    counted = dataclasses.replace(plain.train, dropped_oversized=True, n_trained_turns=known.n_trained_turns)
    assert counted == known
    assert (plain.tool_call_format, plain.fingerprint) == (None, None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda values: values[:4], r"returned 4 values; it must return train_dataset, eval_dataset"),
        (lambda values: None, r"returned a NoneType; it must return"),
        (lambda values: ([], *values[1:]), r"train_dataset has no row to train on"),
        (lambda values: (3, *values[1:]), r"train_dataset is a int; it must be a dataset"),
        (lambda values: ([{"text": "hi"}], *values[1:]), r"row 0 has no input_ids, labels, attention_mask"),
        (
            lambda values: (values[0], [values[1][0], {**values[1][1], "labels": [1]}], *values[2:]),
            r"eval_dataset: row 1 has columns of different lengths",
        ),
        (lambda values: (*values[:2], None, *values[3:]), r"tool_eval_examples is a NoneType"),
        (lambda values: (*values[:3], [3], values[4]), r"global_tools, tool 1: must look like"),
        (lambda values: (*values[:4], 8), r"max_ctx is 8, but data\.max_context_length is 4096"),
        (lambda values: (*values[:2], ["turn"], *values[3:]), r"tool_eval_examples holds a str"),
    ],
)
def test_a_wrong_return_value_is_refused_with_the_name_of_its_part(
    change: Any, problem: str, quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = quick_config(plain_domain(monkeypatch, change))
    domain = __import__("plain_domain")
    with pytest.raises(DataError, match=rf"plain_domain\.build_datasets\(cfg\).*{problem}"):
        domain_datasets(domain, cfg)


def test_the_parts_of_a_bundle_have_names(quick_config: MakeConfig) -> None:
    bundle: DatasetBundle = car_sales.build_datasets(quick_config())
    assert bundle.chat is not None
    assert bundle.chat.fmt.name == bundle.report.tool_call_format == "hermes"


def test_rows_in_another_format_are_counted_as_plain_numbers(quick_config: MakeConfig) -> None:
    cfg = quick_config()
    built = tuple(car_sales.build_datasets(cfg))
    tensors = (built[0].with_format("torch"), built[1].with_format("numpy"), *built[2:])
    found, expected = (as_bundle(values, cfg, domain="plain").report for values in (tensors, built))
    assert json.dumps(found.to_json()) == json.dumps(expected.to_json())
