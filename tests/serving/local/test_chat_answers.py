"""Answers of `tool-sft chat` in process: the prompts of the server, prose as it comes, calls at the end."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.live_chat import ScriptedTexts
from tests.support.malformed_requests import TOOL
from trainer.endpoint import Generation, chat_request
from trainer.errors import DataError
from trainer.live_chat.in_process import ModelAnswerer
from trainer.serving.local.service import LocalService

CALL = '<tool_call>\n{"name": "f", "arguments": {"n": 1}}\n</tool_call>'


def body(text: str = "Hi", *, tools: Any = (TOOL,), limit: int = 30) -> dict[str, Any]:
    return chat_request([{"role": "user", "content": text}], tools, Generation("m", limit))


def answerer(service: LocalService, *texts: str, adapted: bool = True, **changes: Any) -> tuple[ModelAnswerer, Any]:
    engine: Any = ScriptedTexts(service.plan.chat.tokenizer, texts, **changes)
    scripted = LocalService(service.plan, engine, service.stop_token_ids)
    return ModelAnswerer(scripted, temperature=0.0, seed=1, adapted=adapted), engine


def test_prose_comes_in_pieces_and_a_call_is_never_shown_as_prose(service: LocalService) -> None:
    model, engine = answerer(service, "One moment, please. 😀\n" + CALL)
    pieces: list[str] = []
    reply = model.answer(body(), on_prose=pieces.append)
    assert len(pieces) > 3
    assert "".join(pieces) == reply.content == "One moment, please. 😀"
    assert [(call.status, call.name, call.arguments) for call in reply.calls] == [("ok", "f", {"n": 1})]
    assert reply.n_prompt_tokens == len(engine.prompts[0])
    assert service.tokenize({"messages": body()["messages"], "tools": body()["tools"]})["tokens"] == engine.prompts[0]


def test_an_answer_is_greedy_and_ends_at_the_limits_of_the_run(service: LocalService) -> None:
    model, engine = answerer(service, "Hello", adapted=False, finish_reason="length")
    assert model.answer(body(limit=1000), on_prose=lambda piece: None).finish_reason == "length"
    ((adapted, settings),) = engine.asked
    assert not adapted
    assert settings.temperature == 0
    assert settings.stop_token_ids == service.stop_token_ids
    assert settings.max_new_tokens == service.plan.max_context_tokens - len(engine.prompts[0])


def test_a_prompt_that_leaves_no_room_is_refused(service: LocalService) -> None:
    model, engine = answerer(service, "Never")
    with pytest.raises(DataError, match=r"has \d+ tokens and is too long: the model was trained with at most 400"):
        model.answer(body("word " * 500), on_prose=lambda piece: None)
    assert not engine.prompts


def test_ctrl_c_in_the_middle_leaves_the_model_usable(service: LocalService) -> None:
    model = ModelAnswerer(service, temperature=0.0, seed=1)
    free = chat_request([{"role": "user", "content": "Hi"}], (), Generation("m", 12))
    before = model.answer(free, on_prose=lambda piece: None)

    def stop(piece: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.answer(free, on_prose=stop)
    assert replace(model.answer(free, on_prose=lambda piece: None)) == before
