"""Every malformed request is refused with the right status in OpenAI's form, and the next good one is answered."""

import gc
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.malformed_http import malformed_http
from tests.support.malformed_requests import CHAT, malformed_requests
from tests.support.raw_http import exchange, post
from tests.support.tiny_runs import ScriptedEngine, serving
from trainer.serving.local.service import LocalService

_OPENAI_KEYS = {"message", "type", "param", "code"}


def rss_mib() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def test_malformed_requests_are_refused_and_good_ones_between_them_are_answered(
    service: LocalService, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    requests = [*malformed_requests(), *malformed_http()]
    assert len(requests) >= 200
    assert len({case.request for case in requests}) == len(requests)
    engine: Any = ScriptedEngine(service.plan.chat.tokenizer, "Yes.")
    wrong = []
    with caplog.at_level(logging.INFO), serving(LocalService(service.plan, engine, service.stop_token_ids)) as url:
        for position, case in enumerate(requests):
            found = exchange(url, case.request)
            error = (found.value or {}).get("error", {})
            has_form = set(error) == _OPENAI_KEYS and error["code"] == found.status and error["message"]
            if found.status != case.status or not has_form or len(found.text) > 4000:
                wrong.append((case.name, case.status, found.status, found.text[:300]))
            if position % 10 == 0:
                assert exchange(url, post(CHAT), half_close=False).value["choices"][0]["message"]["content"] == "Yes."
    assert not wrong, "\n".join(map(str, wrong))
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.INFO]
    assert "Traceback" not in "".join(capfd.readouterr())
    assert all(record.getMessage().isascii() and record.getMessage().isprintable() for record in caplog.records)


def test_malformed_requests_leave_nothing_in_memory(service: LocalService) -> None:
    engine: Any = ScriptedEngine(service.plan.chat.tokenizer, "Yes.")
    requests = [*malformed_requests(), *malformed_http()]
    sizes = []
    with serving(LocalService(service.plan, engine, service.stop_token_ids)) as url:
        for _ in range(4):
            for case in requests:
                exchange(url, case.request)
            gc.collect()
            sizes.append(rss_mib())
    # A leak grows in every round; an arena of the allocator grows in one.
    assert min(after - before for before, after in pairwise(sizes)) < 24, sizes
