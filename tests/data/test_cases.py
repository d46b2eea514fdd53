"""Shapes of data that are common abroad: each is read for what it means, or refused with its reason.

All of them go through a domain with code and through `chat_rows`, which must agree.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from trainer.config import Config
from trainer.data.domains import domain_datasets, load_domain
from trainer.data.opening import RowReader
from trainer.errors import DataError
from trainer.types import Message

MakeConfig = Callable[..., Config]
Open = Callable[..., RowReader]
DOMAINS = ("car_sales", "chat_rows")


def call(name: str, call_id: str | None = "c1", **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"type": "function", "function": function} | ({} if call_id is None else {"id": call_id})


def rates(amount: int, call_id: str | None = "c1") -> dict[str, Any]:
    return call("trade_in_value", call_id, plate="ZH 1", mileage=amount, had_accident=False)


def talk(*messages: Any, **columns: Any) -> dict[str, Any]:
    row = {"session_id": "s1", "inferred_date": "2025-03-14", "conversation": list(messages), **columns}
    return copy.deepcopy(row)


def calling(*calls: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": list(calls)}


USER = {"role": "user", "content": "What is my car worth?"}
DONE = {"role": "assistant", "content": "It is worth 9,000."}


@pytest.fixture(params=DOMAINS)
def make(request: pytest.FixtureRequest, quick_config: MakeConfig, tmp_path: Path) -> Callable[..., Config]:
    """A function that writes rows and returns a configuration that reads them, with the domain's tools."""

    def configured(*rows: Any, parquet: bool = False, tools: list[Any] | None = None) -> Config:
        path = tmp_path / f"rows.{'parquet' if parquet else 'jsonl'}"
        if parquet:
            datasets.Dataset.from_list(list(rows)).to_parquet(path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        splits = ("data.train_split=train", "data.eval_split=train", f"data.dataset_name={path}")
        cfg = quick_config(f"data.load_module={request.param}", *splits)
        if tools is None:
            return cfg
        (tmp_path / "tools.json").write_text(json.dumps(tools), encoding="utf-8")
        return cfg.model_copy(update={"data": cfg.data.model_copy(update={"tools_path": tmp_path / "tools.json"})})

    return configured


def messages_of(cfg: Config) -> list[Message]:
    """The messages of the only row, without the system prompt."""
    part = load_domain(cfg).open_rows(cfg).train[0]
    return list(part.reader.read(part.rows[0]).session.messages[1:])


def refusal(cfg: Config) -> str:
    with pytest.raises(DataError) as caught:
        domain_datasets(load_domain(cfg), cfg)
    return str(caught.value)


def arguments(message: Message) -> list[Any]:
    return [one["function"]["arguments"] for one in message.get("tool_calls") or ()]


@pytest.mark.parametrize("content", ["Let me see.", ""])
def test_an_old_function_call_becomes_a_tool_call(content: str, make: Callable[..., Config]) -> None:
    old = rates(5)["function"]
    result = {"role": "function", "name": "trade_in_value", "content": "9000"}
    cfg = make(talk(USER, {"role": "assistant", "content": content, "function_call": old}, result, DONE))
    asked, answered = messages_of(cfg)[1:3]
    assert (asked["content"], arguments(asked)) == (content, [json.loads(old["arguments"])])
    assert asked["tool_calls"] is not None
    assert (answered["role"], answered["tool_call_id"]) == ("tool", asked["tool_calls"][0]["id"])
    assert domain_datasets(load_domain(cfg), cfg).report.train.converted["function_call read as tool_calls"] == 1


@pytest.mark.parametrize("key", ["reasoning", "thinking", "reasoning_content"])
def test_reasoning_is_read_under_every_usual_key(key: str, make: Callable[..., Config]) -> None:
    assert messages_of(make(talk(USER, {**DONE, key: "Nine thousand."})))[1]["reasoning_content"] == "Nine thousand."


def test_a_refusal_is_what_the_assistant_says(make: Callable[..., Config]) -> None:
    cfg = make(talk(USER, {"role": "assistant", "content": "", "refusal": "I cannot tell."}))
    assert messages_of(cfg)[1]["content"] == "I cannot tell."


@pytest.mark.parametrize("written", ["tool_calls", "conversation"])
def test_json_text_is_read_where_a_list_is_due(written: str, make: Callable[..., Config]) -> None:
    calling = {"role": "assistant", "content": "", "tool_calls": [rates(5)]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "9000"}
    row = talk(USER, calling, result, DONE)
    expected = messages_of(make(row))
    if written == "tool_calls":
        row["conversation"][1]["tool_calls"] = json.dumps(row["conversation"][1]["tool_calls"])
    else:
        row["conversation"] = json.dumps(row["conversation"])
    assert messages_of(make(row)) == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (talk({**USER, "tool_calls": [rates(5)]}, DONE), "tool_calls is on a user message"),
        (talk(USER, calling(None)), "tool_calls entry 0: the call is null"),
        (talk(USER, {"role": "assistant", "content": ""}), "the assistant says nothing and calls nothing"),
        (talk(USER, {"role": "assistant", "content": " \n"}), "the assistant says nothing and calls nothing"),
        (talk(USER, {**DONE, "contnet": "x"}), 'unknown key "contnet"; did you mean content?'),
        (talk(USER, calling(call("trade_in_value", town="X"))), "undeclared argument 'town'"),
        (talk(USER, calling(call("nothing"))), 'calls unknown tool "nothing"'),
    ],
)  # fmt: skip
def test_what_has_no_clear_meaning_is_refused_with_row_and_turn(
    row: Any, reason: str, make: Callable[..., Config]
) -> None:
    message = refusal(make(row))
    assert reason in message
    assert "rows.jsonl:1: session s1: " in message


def test_a_conversation_that_is_null_is_refused(make: Callable[..., Config]) -> None:
    message = refusal(make(talk(USER, DONE), talk(USER, DONE) | {"session_id": "s2", "conversation": None}))
    assert "rows.jsonl:2: session s2: column conversation: " in message
    assert "null" in message


def parallel(*ids: str | None) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [rates(5, ids[0]), call("vehicle_details", ids[1], vehicle_id="X")],
    }


def test_results_stand_in_the_order_of_their_calls(make: Callable[..., Config]) -> None:
    by_id = [{"role": "tool", "tool_call_id": name, "content": name} for name in ("b", "a")]
    named = (("vehicle_details", "b"), ("trade_in_value", "a"))
    by_name = [{"role": "tool", "name": name, "content": content} for name, content in named]
    for asked, results in ((parallel("a", "b"), by_id), (parallel("a", "b"), by_name), (parallel(None, None), by_name)):
        found = messages_of(make(talk(USER, asked, *results, DONE)))[2:4]
        assert [message["content"] for message in found] == ["a", "b"]


def test_ids_of_results_name_calls_without_ids_where_that_is_certain(make: Callable[..., Config]) -> None:
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in ("a", "b")]
    found = messages_of(make(talk(USER, parallel(None, None), *results, DONE)))
    assert [one["id"] for one in found[1].get("tool_calls") or ()] == ["a", "b"]
    missing = talk(USER, parallel("a", "b"), results[0], DONE)
    assert 'call 1 to "vehicle_details" (id "b") has no result' in refusal(make(missing))


def test_tools_of_the_row_are_used(make: Callable[..., Config]) -> None:
    own = {"type": "function", "function": {"name": "own", "parameters": {"type": "object", "properties": {"a": {}}}}}
    result = {"role": "tool", "tool_call_id": "c1", "content": "x"}
    asked = {"role": "assistant", "content": "", "tool_calls": [call("own", a=1)]}
    bundle = domain_datasets(load_domain(cfg := make(talk(USER, asked, result, DONE, tools=[own]))), cfg)
    assert [[tool["function"]["name"] for tool in one.tools] for one in bundle.tool_eval_examples] == [["own"]] * 2


def test_nulls_of_a_table_never_reach_a_target(make: Callable[..., Config]) -> None:
    asked = calling(rates(5, "a"), call("vehicle_details", "b", vehicle_id="X"))
    for one in asked["tool_calls"]:
        one["function"]["arguments"] = json.loads(one["function"]["arguments"])
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in ("a", "b")]
    found = messages_of(make(talk(USER, asked, *results, DONE), parquet=True))[1]
    assert arguments(found) == [{"plate": "ZH 1", "mileage": 5, "had_accident": False}, {"vehicle_id": "X"}]


def test_tools_with_references_are_shown_and_two_of_one_name_refused(make: Callable[..., Config]) -> None:
    schema = {
        "type": "object",
        "properties": {"when": {"$ref": "#/$defs/day"}},
        "$defs": {"day": {"type": "string", "description": "a weekday"}},
    }
    tool = {"type": "function", "function": {"name": "own", "description": "Own.", "parameters": schema}}
    objects = [{"type": "object", "properties": {name: {"type": "string"}}} for name in ("plate", "vin")]
    other = {"type": "function", "function": {"name": "one_of", "description": "Or.", "parameters": {"oneOf": objects}}}
    cfg = make(talk(USER, DONE), tools=[tool, other])
    bundle = domain_datasets(load_domain(cfg), cfg)
    assert bundle.chat is not None
    prompt = bundle.chat.encoder.decode(list(bundle.tool_eval_examples[0].prompt_ids))
    assert '{"type": "object", "properties": {"when": {"$ref": "#/$defs/day"}}, "$defs": {"day": ' in prompt
    assert 'one_of({"oneOf": [' in prompt
    assert "tool 2 (own): tool 1 has the same name" in refusal(make(talk(USER, DONE), tools=[tool, tool]))


def test_a_schema_that_takes_anything_is_shown(make: Callable[..., Config]) -> None:
    properties = {"a": True, "b": {"type": "array", "items": True}, "c": {"type": "string"}}
    parameters = {"type": "object", "properties": properties}
    tool = {"type": "function", "function": {"name": "own", "description": "Own.", "parameters": parameters}}
    cfg = make(talk(USER, DONE), tools=[tool])
    bundle = domain_datasets(load_domain(cfg), cfg)
    assert bundle.chat is not None
    prompt = bundle.chat.encoder.decode(list(bundle.tool_eval_examples[0].prompt_ids))
    assert 'own(a?: true, b?: {"type": "array", "items": true}, c?: string): Own.' in prompt
