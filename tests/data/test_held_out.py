"""The training sessions that choose a checkpoint are chosen by their ids, and are in no other part."""

from collections.abc import Callable

import pytest

from trainer.config import Config, load_config
from trainer.data.domains import domain_datasets, load_domain
from trainer.data.held_out.sessions import selection_sessions

MakeConfig = Callable[..., Config]
NAMES = [f"session-{number}" for number in range(100)]
CHOOSES = ("train.early_stopping=2", "train.eval_strategy=epoch")


def test_only_a_run_that_chooses_holds_sessions_out(quick_config: MakeConfig) -> None:
    assert selection_sessions(quick_config(), NAMES) == []
    assert len(selection_sessions(quick_config(*CHOOSES), NAMES)) == 10
    assert selection_sessions(quick_config(*CHOOSES, "data.selection_share=0"), NAMES) == []
    assert len(selection_sessions(quick_config("data.selection_share=0.25"), NAMES)) == 25
    assert len(selection_sessions(quick_config("train.recipe=auto"), NAMES)) == 10


def test_few_sessions_are_all_trained_on_unless_a_share_is_set(quick_config: MakeConfig) -> None:
    assert selection_sessions(quick_config(*CHOOSES), NAMES[:29]) == []
    assert len(selection_sessions(quick_config(*CHOOSES), NAMES[:30])) == 5
    assert len(selection_sessions(quick_config("data.selection_share=0.01"), NAMES[:9])) == 1
    assert len(selection_sessions(quick_config("data.selection_share=0.99"), NAMES[:2])) == 1
    assert selection_sessions(quick_config("data.selection_share=0.5"), NAMES[:1]) == []


def test_the_choice_depends_on_ids_alone_and_mostly_stays_when_sessions_are_added(quick_config: MakeConfig) -> None:
    cfg = quick_config("data.selection_share=0.1")
    before = selection_sessions(cfg, NAMES)
    assert selection_sessions(cfg, [*reversed(NAMES), *NAMES]) == before
    assert len(before) == 10
    assert len(selection_sessions(cfg, [f"{name}-{number}" for name in NAMES for number in range(30)])) == 64
    assert len(set(selection_sessions(cfg, [*NAMES, "one", "two"])) & set(before)) >= 8


@pytest.fixture(scope="module")
def shares() -> tuple[str, ...]:
    return ("data.train_split=train[:12]", "data.selection_share=0.25")


def test_held_out_sessions_are_in_no_other_part(quick_config: MakeConfig, shares: tuple[str, ...]) -> None:
    cfg = quick_config(*shares)
    bundle = domain_datasets(load_domain(cfg), cfg)
    whole_cfg = quick_config(shares[0])
    whole = domain_datasets(load_domain(whole_cfg), whole_cfg)
    held = {example.session_id for example in bundle.selection_examples}
    trained = set(bundle.train_dataset["session_id"])
    assert len(held) == 3
    assert held | trained == set(whole.train_dataset["session_id"])
    assert not held & trained
    assert not held & {example.session_id for example in bundle.tool_eval_examples}
    for example in bundle.selection_examples:
        assert example.target_ids[-1] in bundle.chat.encoder.stop_token_ids  # type: ignore[union-attr]
    report, selection = bundle.report.train, bundle.report.selection
    assert selection is not None
    assert report.n_sessions + selection.n_sessions == whole.report.train.n_sessions
    for key in ("n_rows", "n_tokens", "n_supervised_tokens", "n_trained_turns"):
        assert getattr(report, key) + getattr(selection, key) == getattr(whole.report.train, key), key
    assert selection.n_trained_turns == len(bundle.selection_examples)
    assert any(line.startswith("selection, held out of train: 3 sessions") for line in bundle.report.lines())


def test_a_share_must_be_below_one() -> None:
    with pytest.raises(Exception, match="selection_share"):
        load_config("configs/car_sales/quickstart.yaml", ["data.selection_share=1"])
