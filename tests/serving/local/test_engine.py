"""The engine of the small server returns the same tokens as `generate`, with and without kept caches."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from tests.support.tiny_runs import make_run
from trainer.generation.settings import DecodeSettings
from trainer.serving.local.engine import LocalEngine, NucleusSettings
from trainer.serving.local.waiting_line import WaitingLine
from trainer.training.load_run import load_adapted

STOP = 2


def settings(n_new: int = 12, **changes: Any) -> DecodeSettings:
    return DecodeSettings(frozenset({STOP}), max_new_tokens=n_new, max_context_tokens=4096, **changes)


def generated(model: Any, prompt: list[int], n_new: int = 12) -> list[int]:
    config = GenerationConfig(max_new_tokens=n_new, do_sample=False, eos_token_id=STOP, pad_token_id=0)
    ids = torch.tensor([prompt])
    output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
    answer: list[int] = output[0, len(prompt) :].tolist()
    return answer[:-1] if answer[-1] == STOP else answer


@pytest.fixture
def model(tiny_model_folder: Path, tmp_path: Path) -> Any:
    return load_adapted(make_run(tiny_model_folder, tmp_path / "run"))


def test_a_growing_conversation_has_the_same_answers_as_with_generate(model: Any) -> None:
    engine = LocalEngine(model)
    prompt = list(range(5, 45))
    for turn in range(4):
        found = engine.generate(prompt, settings(), adapted=True)
        assert list(found.token_ids) == generated(model, prompt)
        assert (found.n_cached > 0) == (turn > 0)
        prompt += [*found.token_ids, STOP, *range(50 + turn, 70 + turn)]


def test_prompts_that_differ_share_only_their_common_beginning(model: Any) -> None:
    engine = LocalEngine(model)
    first, second = [*range(5, 45), 60, 61, 62], [*range(5, 45), 70, 71]
    for prompt, n_cached in ((first, 0), (second, 40), (first, 42), (second[:30], 29)):
        found = engine.generate(prompt, settings(), adapted=True)
        assert list(found.token_ids) == generated(model, prompt)
        assert found.n_cached == n_cached


def test_base_and_adapter_never_share_a_cache(model: Any) -> None:
    engine = LocalEngine(model)
    prompt = list(range(5, 45))
    adapted = engine.generate(prompt, settings(), adapted=True)
    base = engine.generate(prompt, settings(), adapted=False)
    assert base.n_cached == 0
    assert base.token_ids != adapted.token_ids
    with model.disable_adapter():
        assert list(base.token_ids) == generated(model, prompt)


def test_the_number_of_kept_caches_is_limited(model: Any) -> None:
    engine = LocalEngine(model)
    for start in range(30):
        engine.generate(list(range(5 + start, 45 + start)), settings(1), adapted=True)
    assert len(engine._kept) == 8


def test_the_finish_reason_is_length_or_stop(model: Any) -> None:
    prompt = list(range(5, 45))
    answer = generated(model, prompt)
    assert LocalEngine(model).generate(prompt, settings(3), adapted=True).finish_reason == "length"
    stops = DecodeSettings(frozenset({answer[2]}), max_new_tokens=12, max_context_tokens=4096)
    stopped = LocalEngine(model).generate(prompt, stops, adapted=True)
    assert stopped.finish_reason == "stop"
    assert list(stopped.token_ids) == answer[: answer.index(answer[2])]


def test_the_engine_still_works_after_an_interrupted_answer(model: Any) -> None:
    engine = LocalEngine(model)
    prompt = list(range(5, 45))

    def leave(token_ids: Any) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        engine.generate(prompt, settings(), adapted=True, on_token=leave)
    assert list(engine.generate(prompt, settings(), adapted=True).token_ids) == generated(model, prompt)


def test_an_answer_ends_when_its_receiver_says_so(model: Any) -> None:
    prompt = list(range(5, 45))
    whole = generated(model, prompt)
    found = LocalEngine(model).generate(prompt, settings(), adapted=True, on_token=lambda ids: len(ids) == 4)
    assert (list(found.token_ids), found.finish_reason) == (whole[:4], "stop")


def test_a_long_prompt_is_run_in_pieces_between_which_the_receiver_may_leave(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.serving.local.engine._PIECE", 16)
    engine = LocalEngine(model)
    prompt, seen = list(range(5, 55)), []

    def look(token_ids: Any) -> None:
        seen.append(len(token_ids))
        if len(seen) == 3:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        engine.generate(prompt, settings(), adapted=True, on_token=look)
    assert seen == [0, 0, 0]
    for longer in (prompt, [*prompt, *range(60, 99)]):
        assert list(engine.generate(longer, settings(), adapted=True).token_ids) == generated(model, longer)


def test_a_model_whose_cache_cannot_be_cropped_also_stops(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.serving.local.engine.empty_cache", lambda config: None)
    engine = LocalEngine(model)
    prompt = list(range(5, 45))
    whole = generated(model, prompt)
    assert list(engine.generate(prompt, settings(), adapted=True).token_ids) == whole
    found = engine.generate(prompt, settings(), adapted=True, on_token=lambda ids: len(ids) == 4)
    assert (list(found.token_ids), found.finish_reason) == (whole[:4], "stop")

    def leave(token_ids: Any) -> None:
        if len(token_ids) == 3:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        engine.generate(prompt, settings(), adapted=True, on_token=leave)
    narrow = NucleusSettings(frozenset({STOP}), max_new_tokens=12, max_context_tokens=4096, temperature=2.0, top_p=1e-6)
    assert list(engine.generate(prompt, narrow, adapted=True).token_ids) == whole


@pytest.mark.parametrize("top_p", [0.3, 0.6, 0.9])
def test_top_p_samples_only_from_the_smallest_set_of_tokens_that_reaches_it(model: Any, top_p: float) -> None:
    temperature, prompt = 1.5, list(range(5, 45))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
    ordered, ids = torch.softmax(logits / temperature, -1).sort(descending=True)
    n_kept = int((ordered.cumsum(-1) < top_p).sum()) + 1
    allowed = set(ids[:n_kept].tolist())
    engine, found = LocalEngine(model), set()
    for seed in range(60):
        sampled = NucleusSettings(
            frozenset(), max_new_tokens=1, max_context_tokens=99, temperature=temperature, seed=seed, top_p=top_p
        )
        found |= set(engine.generate(prompt, sampled, adapted=True).token_ids)
    assert found <= allowed
    assert len(found) > min(5, n_kept // 2)


def test_requests_get_the_model_in_the_order_of_their_arrival() -> None:
    line, served, go = WaitingLine(), [], threading.Event()

    def wait(number: int) -> None:
        with line.turn(lambda: None):
            go.wait(5)
            served.append(number)

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        while len(line._line) <= number:
            time.sleep(0.001)
    time.sleep(0.7)  # longer than a look at the client
    go.set()
    for thread in threads:
        thread.join(5)
    assert served == list(range(8))
