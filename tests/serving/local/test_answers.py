"""The fields of a request that change the answer: stop strings, top_p, parallel calls, template variables, roles."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.malformed_requests import CHAT, TOOL, VARIABLES
from tests.support.raw_http import RawResponse, connect, exchange, plain, post, read_response
from tests.support.tiny_runs import ScriptedEngine, serving
from trainer.serving.local.service import LocalService

FIRST = '<tool_call>\n{"name": "f", "arguments": {"n": 1}}\n</tool_call>'
SECOND = '<tool_call>\n{"name": "g", "arguments": {"n": 2}}\n</tool_call>'
BROKEN = '<tool_call>\n{"name": "f", "arguments": {"n": }}\n</tool_call>'


def scripted(service: LocalService, text: str) -> LocalService:
    engine: Any = ScriptedEngine(service.plan.chat.tokenizer, text)
    return LocalService(service.plan, engine, service.stop_token_ids)


def ask(url: str, **changes: Any) -> RawResponse:
    return exchange(url, post({**CHAT, **changes}), half_close=False)


def choice(url: str, **changes: Any) -> dict[str, Any]:
    found = ask(url, **changes)
    assert found.status == 200, found.text
    (only,) = found.value["choices"]
    assert isinstance(only, dict)
    return only


def stream(url: str, **changes: Any) -> Iterator[dict[str, Any]]:
    lines = ask(url, stream=True, **changes).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    for line in lines[:-2]:
        yield json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("tools", [[TOOL], None])
def test_all_chunks_of_a_stream_share_one_id_and_one_time(service: LocalService, tools: Any) -> None:
    with serving(scripted(service, "One two three four.\n" + FIRST)) as url:
        streams = [list(stream(url, tools=tools, stream_options={"include_usage": True})) for _ in range(2)]
        whole = ask(url).value
    heads = [{(c["id"], c["created"], c["model"], c["object"]) for c in chunks} for chunks in streams]
    ids = []
    for (head,) in heads:
        assert (head[2], head[3]) == ("carsales", "chat.completion.chunk")
        ids.append(head[0])
    assert len({*ids, whole["id"]}) == 3
    assert all(text.startswith("chatcmpl-") and len(text) == len(whole["id"]) for text in ids)
    assert {type(whole["created"]), type(streams[0][0]["created"])} == {int}
    assert [set(chunk) - {"usage"} for chunk in streams[0]] == [set(whole) - {"usage"}] * len(streams[0])


TEXT = "One, two, three. ENDING of all"


@pytest.mark.parametrize(
    ("stop", "kept", "reason"),
    [
        (", three", "One, two", "stop"),
        ([" three", ", t"], "One", "stop"),
        (["EN", "END", "ENDING"], "One, two, three. ", "stop"),
        (["O"], "", "stop"),
        (["all"], "One, two, three. ENDING of ", "stop"),
        (["alls", "never", "xx", "yy"], TEXT, "stop"),
        ([], TEXT, "stop"),
        (None, TEXT, "stop"),
    ],
)
@pytest.mark.parametrize("tools", [[TOOL], None])
def test_an_answer_ends_before_the_first_stop_string(
    service: LocalService, stop: Any, kept: str, reason: str, tools: Any
) -> None:
    with serving(scripted(service, TEXT)) as url:
        found = choice(url, stop=stop, tools=tools)
        deltas = [chunk["choices"][0] for chunk in stream(url, stop=stop, tools=tools)]
    assert (found["message"]["content"], found["finish_reason"]) == (kept, reason)
    assert "".join(delta["delta"].get("content", "") for delta in deltas) == kept
    assert deltas[-1]["finish_reason"] == reason


def test_the_model_stops_at_a_stop_string(service: LocalService) -> None:
    with serving(service) as url:
        whole = ask(url, tools=None, max_tokens=40).value
        text = whole["choices"][0]["message"]["content"]
        middle = text[len(text) // 2 : len(text) // 2 + 3]
        found = ask(url, tools=None, max_tokens=40, stop=middle).value
    assert found["choices"][0]["message"]["content"] == text[: text.index(middle)]
    assert found["choices"][0]["finish_reason"] == "stop"
    assert found["usage"]["completion_tokens"] < whole["usage"]["completion_tokens"] == 40


def test_a_small_top_p_samples_like_greedy_decoding_and_a_large_one_does_not(service: LocalService) -> None:
    with serving(service) as url:

        def text(**changes: Any) -> str:
            return str(choice(url, tools=None, max_tokens=12, **changes)["message"]["content"])

        greedy = text(temperature=0)
        assert text(temperature=0, top_p=0.3) == greedy
        for top_p in (0, 1e-9):
            assert {text(temperature=2, top_p=top_p, seed=seed) for seed in range(3)} == {greedy}
        assert text(temperature=2, top_p=1, seed=1) == text(temperature=2, seed=1) != greedy


@pytest.mark.parametrize(
    ("text", "parallel", "names", "content"),
    [
        (f"Both.\n{FIRST}\n{SECOND}", False, ["f"], "Both."),
        (f"Both.\n{FIRST}\n{SECOND}", True, ["f", "g"], "Both."),
        (f"{BROKEN}\n{SECOND}", False, [""], None),
        ("No call.", False, [], "No call."),
    ],
)
def test_without_parallel_calls_only_the_first_one_is_handed_over(
    service: LocalService, text: str, parallel: bool, names: list[str], content: str | None
) -> None:
    with serving(scripted(service, text)) as url:
        found = choice(url, parallel_tool_calls=parallel)
        chunks = list(stream(url, parallel_tool_calls=parallel))
    calls = found["message"].get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == names
    assert (found["message"]["content"], found["finish_reason"]) == (content, "tool_calls" if names else "stop")
    streamed = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [call["function"]["name"] for call in streamed] == names


def test_the_role_developer_is_read_as_system(service: LocalService) -> None:
    prompts = []
    for role in ("system", "developer", "user"):
        messages = [{"role": role, "content": "Be brief."}, {"role": "user", "content": "Hello"}]
        prompts.append(service.tokenize({"messages": messages})["tokens"])
    assert prompts[0] == prompts[1] != prompts[2]


def test_text_parts_are_joined_as_in_training(service: LocalService) -> None:
    parts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    prompts = [
        service.tokenize({"messages": [{"role": "user", "content": content}]})["tokens"]
        for content in (parts, "One.\nTwo.")
    ]
    assert prompts[0] == prompts[1]


def test_only_variables_that_the_template_reads_are_taken(service: LocalService, monkeypatch: Any) -> None:
    template = "{{ mood if mood is defined else 'calm' }}{{ tools }}{% for m in messages %}{{ m.content }}{% endfor %}"
    monkeypatch.setattr(service.plan.chat.tokenizer, "chat_template", template)
    with serving(scripted(LocalService(service.plan, service.engine, service.stop_token_ids), "Yes.")) as url:
        prompts = []
        for given in (None, {"mood": "cross"}, {"mood": "calm"}, {"mood": {"a": [1, None]}}):
            found = exchange(url, post({**CHAT, "chat_template_kwargs": given}, path="/tokenize"), half_close=False)
            assert found.status == 200, found.text
            prompts.append(found.value["tokens"])
        assert prompts[1] != prompts[0] == prompts[2] != prompts[3]
        for name in (*VARIABLES, "moods"):
            for path in ("/tokenize", "/v1/chat/completions"):
                body = {**CHAT, "chat_template_kwargs": {"mood": "cross", name: "x"}}
                found = exchange(url, post(body, path=path), half_close=False)
                assert (found.status, found.value["error"]["param"]) == (400, "chat_template_kwargs")
                assert repr(name)[:60] in found.value["error"]["message"]
                assert "it reads: mood" in found.value["error"]["message"]


def test_one_model_is_described_and_an_unknown_one_is_404(service: LocalService) -> None:
    base = service.plan.names[1]
    with serving(scripted(service, "Yes.")) as url:
        listed = json.load(urllib.request.urlopen(f"{url}/models", timeout=10))
        for entry, name in zip(listed["data"], ("carsales", base), strict=True):
            for path in (name, name.replace("/", "%2F")):
                with urllib.request.urlopen(f"{url}/models/{path}", timeout=10) as response:
                    assert json.load(response) == entry
            assert (entry["id"], entry["object"]) == (name, "model")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(f"{url}/models/gpt-5", timeout=10)
        error = json.load(raised.value)["error"]
    assert (raised.value.code, error["code"], error["type"]) == (404, 404, "NotFoundError")
    assert "gpt-5" in error["message"]


def test_http_1_0_clients_and_head_requests_are_answered(service: LocalService) -> None:
    old = post({**CHAT, "stream": True, "tools": None}).replace(b"HTTP/1.1", b"HTTP/1.0")
    with serving(scripted(service, "Yes.")) as url:
        found = exchange(url, old, half_close=False)
        assert found.headers["Connection"] == "close"
        assert "Transfer-Encoding" not in found.headers
        assert found.text.endswith("data: [DONE]\n\n")
        head = exchange(url, plain("HEAD /v1/models HTTP/1.1"), method="HEAD")
        assert (head.status, head.text) == (200, "")
        assert int(head.headers["Content-Length"]) > 20


def test_a_connection_serves_many_requests_and_survives_refused_ones(service: LocalService) -> None:
    with serving(scripted(service, "Yes.")) as url, connect(url) as sock:
        for body, status in ((CHAT, 200), ({"messages": []}, 400), (b"{", 400), ({**CHAT, "stream": True}, 200)):
            sock.sendall(post(body))
            assert read_response(sock).status == status
        sock.sendall(plain("GET /v1/models?x=1 HTTP/1.1") + plain("GET http://x/health HTTP/1.1"))
        file = sock.makefile("rb")
        assert file.read(15) == b"HTTP/1.1 200 OK"


ODD_SCHEMAS: tuple[Any, ...] = (
    {}, {"type": 5}, {"type": []}, {"type": "x"}, {"properties": []}, {"properties": {"n": 1}}, {"properties": None},
    {"type": "object", "properties": {"n": {"type": {"a": 1}}}}, {"required": "n"}, {"required": [1]},
    {"$ref": "#"}, {"$ref": 1}, {"$ref": "#/x/y"}, {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    {"allOf": {}}, {"anyOf": [1]}, {"anyOf": []}, {"enum": 3}, {"properties": {"n": {"pattern": "("}}},
    {"properties": {"n": {"$ref": "http://example.com/x"}}}, {"properties": {"n": {"enum": [{}], "const": []}}},
    {"additionalProperties": "x"}, {"items": {"items": {"items": 1}}}, {"x-compare": 7}, {"properties": {"": {}}},
)  # fmt: skip


def test_tools_with_odd_schemas_are_answered_or_refused_and_never_an_internal_error(service: LocalService) -> None:
    with serving(scripted(service, f"{FIRST}\n{BROKEN}")) as url:
        for schema in ODD_SCHEMAS:
            tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
            found = ask(url, tools=[tool, TOOL])
            assert found.status in (200, 400), (schema, found.text)
            if found.status == 200:
                assert len(found.value["choices"][0]["message"]["tool_calls"]) == 2
