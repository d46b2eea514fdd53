"""Templates that write the date are trained with each session's own, as a server writes it on that day."""

import json
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat import stock_template, tokenizer_for
from tests.support.quick import QUICKSTART
from tests.support.vllm_rules import server_prompt_ids
from trainer.chat import ChatEncoder
from trainer.config import Config, load_config
from trainer.data.chat_setup import make_request_setup
from trainer.data.domains import domain_datasets, domain_turns, load_domain
from trainer.endpoint import Generation, turn_request, wire_messages
from trainer.serving.parity_run import _as_served
from trainer.types import ToolEvalExample
from trainer.util.clock import session_day

DAYS = {"a": date(2025, 3, 9), "b": date(2024, 2, 29)}
TOOL: dict[str, object] = {
    "type": "function",
    "function": {"name": "find", "description": "Finds.", "parameters": {"type": "object", "properties": {}}},
}


def config(folder: Path, template: str) -> Config:
    """Return a configuration of three dated and undated rows, and a tokenizer with a stock template."""
    call = {"id": "call00000", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    conversation: list[Any] = [
        {"role": "user", "content": "Which day is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call00000", "content": "ok"},
        {"role": "assistant", "content": "The day is on the wall."},
    ]
    rows = [
        {"session_id": name, "inferred_date": day, "messages": conversation, "tools": [TOOL]}
        for name, day in (*((name, day.isoformat()) for name, day in DAYS.items()), ("c", "unknown"))
    ]
    for split in ("train", "test"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(
            text if split == "test" else text.replace('"session_id": "', '"session_id": "t')
        )
    tokenizer: Any = tokenizer_for(stock_template(template))
    tokenizer.save_pretrained(folder / "tokenizer")
    overrides = ["data.load_module=chat_rows", f"data.dataset_name={folder}", f"data.tokenizer={folder / 'tokenizer'}"]
    cfg = load_config(QUICKSTART, overrides)
    return cfg.model_copy(update={"data": cfg.data.model_copy(update={"sysprompt_path": None, "tools_path": None})})


def day_of(example: ToolEvalExample) -> date:
    return DAYS.get(example.session_id) or session_day(example.session_id)


@pytest.mark.parametrize(
    ("template", "argument"), [("llama3_1", "date_string"), ("llama3_2", "date_string"), ("gptoss", None)]
)
def test_the_training_prompt_of_a_day_is_the_serving_prompt_on_that_day(
    template: str, argument: str | None, tmp_path: Path
) -> None:
    cfg = config(tmp_path, template)
    bundle = domain_datasets(load_domain(cfg), cfg)
    assert len(bundle.tool_eval_examples) == 6
    assert bundle.chat is not None
    setup = make_request_setup(cfg)
    generation = Generation("m", 8, chat_template_kwargs=setup.template_kwargs, date_argument=setup.date_argument)
    turns = {(turn.session_id, turn.turn): turn for turn in domain_turns(load_domain(cfg), cfg)}
    for example in bundle.tool_eval_examples:
        day = day_of(example)
        body = turn_request(turns[example.session_id, example.turn], generation)
        kwargs = body.get("chat_template_kwargs", {})
        assert set(kwargs) == ({argument} if argument else set())
        served = server_prompt_ids(
            bundle.chat.tokenizer,
            body["messages"],
            body["tools"],
            template_kwargs=kwargs,
            now=datetime.combine(day, time(9)),
        )
        assert list(example.prompt_ids) == served
        other = server_prompt_ids(
            bundle.chat.tokenizer, body["messages"], body["tools"], now=datetime.combine(date(2030, 1, 1), time(9))
        )
        assert served != other


def test_parity_compares_with_today_if_only_the_clock_tells_the_date() -> None:
    messages: Any = ({"role": "user", "content": "Hi"},)
    example = ToolEvalExample("s", 1, messages, (), "", (), (1, 2), (3,), day=date(2025, 3, 9))
    clock = ChatEncoder(tokenizer_for(stock_template("gptoss")))
    (today,) = _as_served([example], clock)
    assert list(today.prompt_ids) == server_prompt_ids(clock._tokenizer, wire_messages(messages), [])
    for template in ("llama3_2", "qwen2_5"):
        assert _as_served([example], ChatEncoder(tokenizer_for(stock_template(template)))) == [example]


def test_a_configured_date_stays_for_all_sessions() -> None:
    encoder = ChatEncoder(tokenizer_for(stock_template("llama3_1")), template_kwargs={"date_string": "1 May 2020"})
    assert encoder.profile.dates.argument is None
    messages: Any = [{"role": "user", "content": "Hi"}]
    assert "1 May 2020" in encoder.render(messages, (), add_generation_prompt=True, day=date(2025, 3, 9))


@pytest.mark.parametrize("stamp", ["2024-05-01T10:00:00Z", "01.05.2024", None])
def test_a_column_of_dates_in_any_form_is_no_reason_to_refuse_a_row(stamp: Any, tmp_path: Path) -> None:
    conversation = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    rows = [{"id": name, "timestamp": stamp, "messages": conversation} for name in ("a", "b")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    overrides = ["data.load_module=chat_rows", f"data.dataset_name={tmp_path / 'rows.jsonl'}", "data.eval_split=train"]
    cfg = load_config(QUICKSTART, overrides)
    cfg = cfg.model_copy(update={"data": cfg.data.model_copy(update={"sysprompt_path": None, "tools_path": None})})
    days = {turn.day for turn in domain_turns(load_domain(cfg), cfg)}
    assert None not in days
    assert (days == {date(2024, 5, 1)}) == (stamp == "2024-05-01T10:00:00Z")
