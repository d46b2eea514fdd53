"""The small server follows OpenAI's protocol: calls, streams, token counts and error messages."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.quick import ROOT
from tests.support.tiny_runs import ScriptedEngine, make_run, serving
from trainer.endpoint import read_answer
from trainer.serving.local.server import make_server
from trainer.serving.local.service import LocalService, load_service
from trainer.serving.plan import plan_serving

CALL = '<tool_call>\n{"name": "search_inventory", "arguments": {"make": "Škoda"}}\n</tool_call>'
BROKEN = '<tool_call>\n{"name": "search_inventory", "arguments": {"make": }}\n</tool_call>'
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "search_inventory",
            "description": "Search.",
            "parameters": {"type": "object", "properties": {"make": {"type": "string"}}},
        },
    }
]
HELLO = [{"role": "system", "content": "Help."}, {"role": "user", "content": "Any Škoda?"}]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> LocalService:
    from tests.support.quick import tiny_model
    from trainer.config import load_config
    from trainer.tokenizer import load_tokenizer

    folder = tmp_path_factory.mktemp("served")
    config = ROOT / "configs" / "car_sales" / "quickstart.yaml"
    tokenizer = load_tokenizer(load_config(config))
    tiny_model(len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    run = make_run(folder / "model", folder / "carsales", "data.max_context_length=400")
    return load_service(run, plan_serving(run))


def scripted(service: LocalService, text: str, finish_reason: str = "stop") -> LocalService:
    engine: Any = ScriptedEngine(service.plan.chat.tokenizer, text, finish_reason)
    return LocalService(service.plan, engine, service.stop_token_ids)


def ask(url: str, body: Any) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def chat(**changes: Any) -> dict[str, Any]:
    body = {"model": "carsales", "messages": HELLO, "tools": TOOLS, "max_tokens": 40, "temperature": 0}
    return {**body, **changes}


def stream(url: str, body: Any) -> Iterator[dict[str, Any]]:
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps({**body, "stream": True}).encode())
    with urllib.request.urlopen(request, timeout=30) as response:
        lines = [line.decode().strip() for line in response if line.strip()]
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        yield json.loads(line.removeprefix("data: "))


def test_a_call_is_returned_as_a_tool_call(service: LocalService) -> None:
    with serving(scripted(service, "One moment.\n" + CALL)) as url:
        status, value = ask(f"{url}/chat/completions", chat())
    (choice,) = value["choices"]
    assert (status, choice["finish_reason"], choice["message"]["content"]) == (200, "tool_calls", "One moment.")
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "search_inventory", "arguments": '{"make": "Škoda"}'}
    answer = read_answer(json.dumps(value).encode())
    assert answer.error is None
    assert answer.completion_tokens == len(service.plan.chat.tokenizer("One moment.\n" + CALL)["input_ids"])


def test_text_without_a_call_stays_unchanged(service: LocalService) -> None:
    with serving(scripted(service, "No Škoda here.")) as url:
        _, value = ask(f"{url}/chat/completions", chat())
    assert value["choices"][0]["message"] == {"role": "assistant", "content": "No Škoda here."}
    assert value["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(("text", "names"), [(BROKEN, [""]), (CALL + "\n" + BROKEN, ["search_inventory", ""])])
def test_a_failed_attempt_is_a_call_that_cannot_be_decoded(service: LocalService, text: str, names: list[str]) -> None:
    with serving(scripted(service, text)) as url:
        _, value = ask(f"{url}/chat/completions", chat())
    message = value["choices"][0]["message"]
    assert message["content"] is None
    assert [call["function"]["name"] for call in message["tool_calls"]] == names
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(message["tool_calls"][-1]["function"]["arguments"])


def test_calls_stay_text_without_tools_or_with_tool_choice_none(service: LocalService) -> None:
    with serving(scripted(service, CALL)) as url:
        for body in (chat(tool_choice="none"), chat(tools=None)):
            _, value = ask(f"{url}/chat/completions", body)
            assert value["choices"][0]["message"]["content"] == CALL


def test_a_cut_answer_has_the_finish_reason_length(service: LocalService) -> None:
    with serving(scripted(service, CALL[:40], "length")) as url:
        _, value = ask(f"{url}/chat/completions", chat())
    assert value["choices"][0]["finish_reason"] == "length"
    (call,) = value["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"] == CALL[:40]


@pytest.mark.parametrize("tools", [TOOLS, None])
@pytest.mark.parametrize("text", ["One moment.\n" + CALL, "Zürich, 5 €. 🚗"])
def test_a_stream_adds_up_to_the_whole_answer(service: LocalService, text: str, tools: Any) -> None:
    with serving(scripted(service, text)) as url:
        _, whole = ask(f"{url}/chat/completions", chat(tools=tools))
        chunks = list(stream(url, chat(tools=tools, stream_options={"include_usage": True})))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    message = whole["choices"][0]["message"]
    assert "".join(delta.get("content") or "" for delta in deltas) == (message["content"] or "")
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls", ())]
    assert calls == [call["function"] for call in message.get("tool_calls", ())]
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_adapter_and_base_model_are_listed_and_each_answers_its_own_requests(service: LocalService) -> None:
    fake = scripted(service, "Yes.")
    engine: Any = fake.engine
    with serving(fake) as url:
        with urllib.request.urlopen(f"{url}/models", timeout=30) as response:
            names = [entry["id"] for entry in json.load(response)["data"]]
        assert set(names) == set(service.plan.names)
        for name in service.plan.names:
            _, value = ask(f"{url}/chat/completions", chat(model=name))
            assert value["model"] == name
    assert [adapted for adapted, _ in engine.asked] == [True, False]


def test_the_prompt_equals_the_training_prompt(service: LocalService) -> None:
    expected = service.plan.chat.encoder.prompt_ids(HELLO, TOOLS)  # type: ignore[arg-type]
    with serving(service) as url:
        _, counted = ask(url.replace("/v1", "/tokenize"), {"messages": HELLO, "tools": TOOLS})
        _, value = ask(f"{url}/chat/completions", chat(return_token_ids=True, max_tokens=4))
        parts = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in HELLO]
        _, same = ask(url.replace("/v1", "/tokenize"), {"messages": parts, "tools": TOOLS})
        assert same == counted
    assert counted["tokens"] == value["prompt_token_ids"] == expected
    assert counted["count"] == value["usage"]["prompt_tokens"] == len(expected)
    assert len(value["choices"][0]["token_ids"]) == 4


def test_greedy_answers_and_answers_with_a_seed_are_repeatable(service: LocalService) -> None:
    with serving(service) as url:
        for settings in ({"temperature": 0}, {"temperature": 1.5, "seed": 7}):
            texts = {
                ask(f"{url}/chat/completions", chat(**settings, max_tokens=8))[1]["choices"][0]["message"]["content"]
                for _ in range(3)
            }
            assert len(texts) == 1


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "not a JSON object"),
        (chat(model="gpt"), 404, "carsales"),
        (chat(messages=[]), 400, "messages"),
        (chat(messages=[{"role": "wizard", "content": "x"}]), 400, "wizard"),
        (chat(max_tokens=0), 400, "max_tokens"),
        (chat(max_tokens=4000), 400, "maximum context length is 400 tokens"),
        (chat(messages=[{"role": "user", "content": "Škoda " * 600}]), 400, "maximum context length"),
        (chat(stop=["x"], n=2), 400, "stop, n"),
        (chat(temperature=1, top_p=0.5), 400, "top_p"),
        (chat(response_format={"type": "json_object"}), 400, "response_format"),
        (chat(parallel_tool_calls=False), 400, "parallel_tool_calls"),
        (chat(ignore_eos=True), 400, "ignore_eos"),
        (chat(stop_token_ids=[5]), 400, "stop_token_ids"),
        (chat(bad_words=["no"]), 400, "bad_words"),
        (chat(chat_template="{{ messages }}"), 400, "chat_template"),
        (chat(continue_final_message=True), 400, "continue_final_message"),
        (chat(structured_outputs={"choice": ["a"]}), 400, "structured_outputs"),
        (chat(skip_special_tokens=True), 400, "skip_special_tokens"),
        (chat(tools=[{"function": {"name": "f", "description": 3}}]), 400, "description"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_with_the_reason(
    service: LocalService, body: Any, status: int, said: str
) -> None:
    with serving(scripted(service, "Yes.")) as url:
        found, value = ask(f"{url}/chat/completions", body)
        assert (found, value["error"]["code"]) == (status, status)
        assert said in value["error"]["message"]
        assert ask(f"{url}/chat/completions", chat())[0] == 200  # and the server still works


def test_keys_that_change_nothing_are_accepted(service: LocalService) -> None:
    with serving(scripted(service, "Yes.")) as url:
        body = chat(n=1, top_p=0.9, stop=None, user="me", lora_name="carsales")
        assert ask(f"{url}/chat/completions", body)[0] == 200
        body = chat(stop=[], stop_token_ids=[], bad_words=[], parallel_tool_calls=True, ignore_eos=False)
        body |= {"chat_template": None, "continue_final_message": False, "structured_outputs": None}
        assert ask(f"{url}/chat/completions", {**body, "skip_special_tokens": False})[0] == 200


def test_the_keys_of_a_tool_are_rendered_in_one_order_however_they_are_sent(service: LocalService) -> None:
    function: dict[str, Any] = TOOLS[0]["function"]  # type: ignore[assignment]
    backwards = {"function": dict(reversed(function.items())), "type": "function"}
    assert service.tokenize(chat(tools=[backwards])) == service.tokenize(chat())


def test_the_error_of_a_wrong_path_names_the_right_ones(service: LocalService) -> None:
    with serving(service) as url:
        status, value = ask(f"{url}/completions", chat())
    assert status == 404
    assert "/v1/chat/completions" in value["error"]["message"]


@pytest.mark.parametrize(
    ("length", "status", "said"), [(str(2**40), 413, "bytes; at most"), ("many", 411, "Content-Length")]
)
def test_a_body_that_is_too_large_or_has_no_length_is_refused(
    service: LocalService, length: str, status: int, said: str
) -> None:
    with serving(service) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://").removesuffix("/v1"), timeout=30)
        connection.request("POST", "/v1/chat/completions", headers={"Content-Length": length})
        response = connection.getresponse()
        assert (response.status, said in json.load(response)["error"]["message"]) == (status, True)
        connection.close()


def test_an_internal_error_is_reported_to_the_client_and_the_server_still_works(
    service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = scripted(service, "Yes.")
    generate = broken.engine.generate

    def fail(*args: Any, **kwargs: Any) -> Any:
        kwargs["on_token"]([1])
        raise MemoryError("too much")

    with serving(broken) as url:
        monkeypatch.setattr(broken.engine, "generate", fail)
        status, value = ask(f"{url}/chat/completions", chat())
        assert (status, value["error"]["message"]) == (500, "MemoryError: too much")
        with pytest.raises((AssertionError, OSError, http.client.HTTPException)):  # no end marker: a cut stream
            list(stream(url, chat()))
        monkeypatch.setattr(broken.engine, "generate", generate)
        assert ask(f"{url}/chat/completions", chat())[0] == 200


def test_a_port_in_use_is_an_endpoint_error(service: LocalService) -> None:
    from trainer.errors import EndpointError

    with serving(service) as url:
        port = int(url.rsplit(":", 1)[1].removesuffix("/v1"))
        with pytest.raises(EndpointError, match="--port"):
            make_server(service, host="127.0.0.1", port=port)


def test_a_merged_model_answers_like_the_adapter_under_its_own_name(tiny_model_folder: Path, tmp_path: Path) -> None:
    from trainer.serving.merge import merge_run

    run = make_run(tiny_model_folder, tmp_path / "carsales")
    merge_run(run, tmp_path / "merged", n_sessions=1)
    answers = []
    for merged in (None, tmp_path / "merged"):
        with serving(load_service(run, plan_serving(run, merged=merged))) as url:
            _, value = ask(f"{url}/chat/completions", chat(max_tokens=8))
            answers.append(value["choices"][0]["message"]["content"])
            with urllib.request.urlopen(f"{url}/models", timeout=30) as response:
                names = [entry["id"] for entry in json.load(response)["data"]]
    assert answers[0] == answers[1]
    assert names == ["carsales"]
    from_the_hub = run.cfg.model_copy(update={"model": run.cfg.model.model_copy(update={"revision": "v1"})})
    load_service(replace(run, cfg=from_the_hub), plan_serving(run, merged=tmp_path / "merged"))
