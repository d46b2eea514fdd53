"""The load test times streams, counts failures, and writes a self-contained report."""

import asyncio
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bench_serving
import pytest

from tests.support.quick import ROOT
from tests.support.streaming_server import FIRST_S, N_CACHED, N_TOKENS, NEXT_S, streaming
from tests.support.stub_server import StubServer
from trainer.config import load_config
from trainer.endpoint import EndpointSettings
from trainer.server_eval.cold_prompts import cold_note, salted
from trainer.server_eval.load import LevelResult, Timing, level_result, measure
from trainer.server_eval.load_report import report_html
from trainer.server_eval.replay import deal

CONFIG = str(ROOT / "configs" / "car_sales" / "quickstart.yaml")


def load(url: str, *, n: int = 8, concurrency: int = 4) -> LevelResult:
    bodies = [{"model": "carsales", "messages": []} for _ in range(n)]
    return asyncio.run(measure(EndpointSettings(url), bodies, concurrency=concurrency))


def test_tokens_and_times_come_from_the_stream() -> None:
    with streaming() as (url, handler):
        result = load(url)
    assert (result.n_requests, result.n_errors, handler.n_asked) == (8, 0, 8)
    assert (result.output_tokens, result.prompt_tokens) == (8 * N_TOKENS, 800)
    assert result.output_tokens_per_s == pytest.approx(result.output_tokens / result.seconds, rel=0.01)
    first, per_token = result.first_token_s["p50"], result.per_token_s["p50"]
    assert first is not None
    assert per_token is not None
    assert first >= FIRST_S
    assert per_token >= NEXT_S * 0.9
    assert 1 <= handler.most_open <= 4


@pytest.mark.parametrize(
    ("fault", "said"),
    [("cut", "the stream ended early"), ("garbage", "not a chat completion"), ("status", "HTTP 503: busy")],
)
def test_failures_are_counted_and_add_no_tokens(fault: str, said: str) -> None:
    with streaming(fault) as (url, _):
        result = load(url, n=3)
    assert (result.n_errors, result.output_tokens) == (3, 0)
    ((reason, n),) = result.errors.items()
    assert said in reason
    assert n == 3
    assert result.first_token_s == {"p50": None, "p90": None, "p99": None}


def test_a_server_without_parser_gets_requests_that_it_accepts(capsys: pytest.CaptureFixture[str]) -> None:
    with streaming("no parser") as (url, handler):
        words = ["--config", CONFIG, "--endpoint", url, "--model", "carsales", "--concurrency", "1,3", "--turns", "4"]
        assert bench_serving.main(words) == 0
        assert (handler.n_asked, handler.n_refused) == (2 + 2 * 8 + 1, 1)
    told = capsys.readouterr()
    assert told.err.count("no tool-call parser") == 1
    assert " × " not in told.out  # no errors


def test_more_open_requests_than_turns_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--config", CONFIG, "--endpoint", "http://h/v1", "--model", "m", "--concurrency", "4,64", "--turns", "63"]
    with pytest.raises(SystemExit, match="2"):
        bench_serving.main(words)
    assert "--concurrency 64: --turns 63 are too few" in capsys.readouterr().err


def test_the_template_arguments_and_any_domain_s_turns_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    import car_sales
    from trainer.data import chat_setup
    from trainer.tool_calls import get_format

    turns = car_sales.read_turns(load_config(CONFIG))
    domain = SimpleNamespace(read_turns=lambda cfg: turns)
    setup = chat_setup.RequestSetup(get_format("hermes"), {"enable_thinking": False}, True)
    monkeypatch.setattr("trainer.server_eval.replay.load_domain", lambda cfg: domain)
    monkeypatch.setattr("trainer.server_eval.replay.make_request_setup", lambda cfg: setup)
    with StubServer() as server:
        words = ["--config", CONFIG, "--endpoint", server.url, "--model", "base", "--concurrency", "2", "--turns", "2"]
        bench_serving.main(words)
    for body in server.bodies:
        assert (body["chat_template_kwargs"], body["skip_special_tokens"]) == ({"enable_thinking": False}, False)


def bench(url: str, tmp_path: Path, *extra: str) -> Any:
    words = ["--config", CONFIG, "--endpoint", url, "--model", "carsales", "--concurrency", "2", "--turns", "3", *extra]
    assert bench_serving.main([*words, "--json", str(tmp_path / "bench.json")]) == 0
    return json.loads((tmp_path / "bench.json").read_text())["levels"]


@pytest.mark.parametrize(("fault", "cache"), [("", "salted"), ("", "plain"), ("no salt", "plain")])
def test_cold_prompts_are_cold_and_warm_ones_warm_whether_the_server_takes_a_salt_or_not(
    fault: str, cache: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with streaming(fault, cache=cache) as (url, _):
        for _ in range(2):  # another run must not find what this one left in the cache
            for level in bench(url, tmp_path, "--report", str(tmp_path / "bench.html")):
                assert (level["cached_tokens"], level["warm"]["cached_tokens"]) == (0, 3 * N_CACHED)
                assert level["first_token_s"]["p50"] >= FIRST_S > level["warm"]["first_token_s"]["p50"]
    told = capsys.readouterr()
    assert ("does not heed cache_salt" in told.err) is (cache == "plain")
    assert "0% / 96%" in told.out
    assert "in its cache" not in told.out
    page = (tmp_path / "bench.html").read_text()
    order = [
        page.index(f"Time {name}") for name in ("to first token, cold", "to first token, warm", "per output token")
    ]
    assert order == sorted(order)


def test_a_server_that_does_not_report_cached_tokens_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with streaming() as (url, _):
        assert {level["cached_tokens"] for level in bench(url, tmp_path)} == {None}
    out = capsys.readouterr().out
    assert "does not report cached tokens" in out
    assert "– / –" in out


def test_cold_prompts_that_came_from_a_cache_are_named() -> None:
    timings = [Timing(0.1, 1.1, 100, 11, None, n_cached) for n_cached in (0, 50)]
    level = level_result(timings, concurrency=2, seconds=1.0)
    assert (level.cached_tokens, level.cached_share) == (50, 0.25)
    note = cold_note(level)
    assert note is not None
    assert "25% of the cold prompts" in note
    assert cold_note(level_result(timings[:1], concurrency=2, seconds=1.0)) is None
    assert level_result([*timings, Timing(0.1, 1.1, 100, 11, None)], concurrency=2, seconds=1.0).cached_tokens is None


@pytest.mark.parametrize("salt", ["field", "text"])
def test_no_two_requests_share_a_salt_and_nothing_else_changes(salt: Any) -> None:
    body = {"model": "m", "messages": [{"role": "system", "content": "Hello"}, {"role": "user", "content": "you"}]}
    first, second = salted([body, body], salt)
    assert first != second
    if salt == "field":
        assert {**first, "cache_salt": second["cache_salt"]} == second
        assert first["messages"] == body["messages"]
    else:
        assert set(first) == set(body)
        assert first["messages"][0]["content"].endswith("]\nHello")
        assert first["messages"][1:] == body["messages"][1:]
        assert first["messages"][0]["content"][:8] != second["messages"][0]["content"][:8]


def test_a_server_that_is_gone_is_an_error_in_each_request() -> None:
    result = load("http://127.0.0.1:9/v1", n=2)
    assert result.n_errors == 2


def test_rates_and_percentiles_by_hand() -> None:
    timings = [Timing(0.1, 1.1, 10, 11, None), Timing(0.3, 2.3, 10, 5, None), Timing(None, 9.0, None, 0, "gone")]
    result = level_result(timings, concurrency=2, seconds=4.0)
    assert (result.requests_per_s, result.output_tokens_per_s, result.n_errors) == (0.5, 4.0, 1)
    assert result.first_token_s["p50"] == pytest.approx(0.2)
    assert result.per_token_s["p50"] == pytest.approx((0.1 + 0.5) / 2)
    assert result.latency_s["p99"] == pytest.approx(2.288)
    assert Timing(0.1, 0.1, 1, 1, None).per_token_s is None


def test_the_script_measures_each_concurrency_and_writes_figures_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with streaming() as (url, handler):
        words = ["--config", CONFIG, "--endpoint", url, "--model", "carsales", "--concurrency", "1,3", "--turns", "4"]
        files = ["--json", str(tmp_path / "out" / "bench.json"), "--report", str(tmp_path / "out" / "bench.html")]
        assert bench_serving.main([*words, *files]) == 0
        assert handler.n_asked == 2 + 2 * 8
        assert bench_serving.main([*words[:5], "gpt", *words[6:]]) == 2
    assert "gpt is not registered" in capsys.readouterr().err
    levels = json.loads((tmp_path / "out" / "bench.json").read_text())["levels"]
    assert [level["concurrency"] for level in levels] == [1, 3]
    for part in (one for level in levels for one in (level, level["warm"])):
        assert (part["n_requests"], part["n_errors"]) == (4, 0)


def test_the_report_is_one_file_that_loads_no_other() -> None:
    timings = [Timing(0.1, 1.1, 10, 11, None), Timing(None, 1.0, None, 0, "HTTP 500: <b>bad</b>")]
    levels = [level_result(timings, concurrency=n, seconds=float(n)) for n in (1, 4, 16)]
    page = report_html("Load on <carsales>", levels, notes="by hand")
    assert page.count("<svg") == 4
    assert page.count("<polyline") == 1 + 3 * 3
    assert not re.search(r"(src|href)\s*=|url\(|@import|<script|http://|https://", page)
    assert "<b>bad" not in page
    assert "&lt;carsales&gt;" in page


def test_each_level_gets_its_own_sessions_if_there_are_enough() -> None:
    class Turn:
        def __init__(self, session_id: str) -> None:
            self.session_id = session_id

    turns: Any = [Turn(f"s{session}") for session in range(4) for _ in range(3)]
    first, second = deal(turns, 2, 6)
    assert not {turn.session_id for turn in first} & {turn.session_id for turn in second}
    assert [len(hand) for hand in deal(turns, 7, 5)] == [5] * 7
