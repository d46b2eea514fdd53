"""The small server adds the bias of a request as an evaluation in process does, and refuses what it cannot add."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.malformed_requests import CHAT, TOOL
from tests.support.raw_http import RawResponse, exchange, post
from tests.support.tiny_runs import make_run, serving
from trainer.endpoint import Generation, chat_request
from trainer.generation.settings import DecodeSettings
from trainer.generation.speculative import PartialAnswer
from trainer.generation.teacher_forcing import decode_turns
from trainer.live_chat.in_process import ModelAnswerer
from trainer.serving.local.engine import LocalEngine, NucleusSettings, _Decoding
from trainer.serving.local.service import LocalService
from trainer.training.load_run import load_adapted
from trainer.types import ToolEvalExample


def ask(url: str, **changes: Any) -> RawResponse:
    return exchange(url, post({**CHAT, **changes}), half_close=False)


def favored(model: Any, prompt: list[int]) -> dict[int, float]:
    """A bias under which the next token is another one, and not always the same."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
    best, second, third = logits.topk(3).indices.tolist()
    return {best: -1.5, second: 0.2, third: float(logits[best] - logits[third]) - 0.7}


def in_process(model: Any, prompt: list[int], settings: DecodeSettings) -> list[int]:
    stop = min(settings.stop_token_ids)
    example = ToolEvalExample("s", 0, (), (), "", (), tuple(prompt), (stop,))
    return list(decode_turns(model, [example], settings)[0].token_ids)


@pytest.mark.parametrize("crops", [True, False])
def test_the_engine_answers_like_an_evaluation_in_process(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crops: bool
) -> None:
    model = load_adapted(make_run(tiny_model_folder, tmp_path / "run"))
    prompt = list(range(5, 45))
    bias = favored(model, prompt)
    settings = DecodeSettings(frozenset({2}), max_new_tokens=12, max_context_tokens=400, logit_bias=bias)
    plain = DecodeSettings(frozenset({2}), max_new_tokens=12, max_context_tokens=400)
    expected = in_process(model, prompt, settings)
    assert expected != in_process(model, prompt, plain)
    if not crops:
        monkeypatch.setattr("trainer.serving.local.engine.empty_cache", lambda config: None)
    engine = LocalEngine(model)
    for _ in range(2):  # from the prompt, and from a kept cache
        assert list(engine.generate(prompt, settings, adapted=True).token_ids) == expected
    assert list(engine.generate(prompt, plain, adapted=True).token_ids) == in_process(model, prompt, plain)


def test_the_server_answers_like_an_evaluation_in_process_and_like_a_chat(service: LocalService) -> None:
    messages = [{"role": "user", "content": "Hello there"}]
    prompt = service.plan.chat.encoder.prompt_ids(messages, [TOOL])  # type: ignore[arg-type]
    model = service.engine._model
    bias = favored(model, prompt)
    settings = DecodeSettings(service.stop_token_ids, max_new_tokens=10, max_context_tokens=400, logit_bias=bias)
    expected = in_process(model, prompt, settings)
    sent = {str(token): value for token, value in bias.items()}
    fields = {"messages": messages, "max_tokens": 10, "temperature": 0, "return_token_ids": True}
    with serving(service) as url:
        answers = [ask(url, **fields, **extra).value for extra in ({"logit_bias": sent}, {})]
    assert answers[0]["prompt_token_ids"] == prompt
    served, plain = (answer["choices"][0] for answer in answers)
    answer = [token for token in served["token_ids"] if token not in service.stop_token_ids]
    assert answer == expected
    assert plain["token_ids"] != served["token_ids"]
    generation = Generation("carsales", 10, logit_bias=sent)
    body = chat_request(messages, [TOOL], generation)  # type: ignore[arg-type]
    reply = ModelAnswerer(service, temperature=0.0, seed=0).answer(body, on_prose=lambda piece: None)
    assert reply.text == service.plan.chat.encoder.decode(expected)


@pytest.mark.parametrize("bias", [100, -100])
def test_the_largest_bias_decides_every_token(service: LocalService, bias: int) -> None:
    with serving(service) as url:
        choice = ask(url, max_tokens=3, temperature=0, return_token_ids=True, logit_bias={"44": bias}).value["choices"]
    assert (choice[0]["token_ids"] == [44, 44, 44]) == (bias > 0)


@pytest.mark.parametrize(
    ("bias", "said"),
    [
        ({"44": 101}, "logit_bias"),
        ({"44": -100.5}, "logit_bias"),
        ({"44": "1"}, "logit_bias"),
        ({"x": 1}, "logit_bias"),
        ({"-1": 1}, "logit_bias"),
        ({"999999999": 1}, "there is no token 999999999"),
        ([1], "logit_bias"),
        (5, "logit_bias"),
    ],
)
def test_a_bias_that_cannot_be_added_is_refused(service: LocalService, bias: Any, said: str) -> None:
    with serving(service) as url:
        found = ask(url, logit_bias=bias)
    assert found.status == 400
    assert said in found.text
    assert found.value["error"]["param"] == "logit_bias"


@pytest.mark.parametrize("bias", [None, {}])
def test_an_empty_bias_changes_nothing(service: LocalService, bias: Mapping[str, float] | None) -> None:
    fields = {"max_tokens": 4, "temperature": 0, "tools": [TOOL], "return_token_ids": True}
    with serving(service) as url:
        first, second = (ask(url, **fields, **extra).value["choices"] for extra in ({}, {"logit_bias": bias}))
    assert first == second


def test_the_most_likely_tokens_are_chosen_after_the_bias() -> None:
    """With `top_p`, a token that only the bias makes likely must stay."""
    settings = NucleusSettings(frozenset({9}), 3, 10, temperature=1.0, top_p=0.5, logit_bias={2: 20.0})
    logits = torch.tensor([5.0, 4.0, 0.0])
    kept = _Decoding(PartialAnswer(settings, name="x"), settings, lambda ids: False)._nucleus(logits)
    assert kept.tolist() == [float("-inf"), float("-inf"), 0.0]
