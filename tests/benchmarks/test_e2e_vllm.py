"""The end-to-end script compares correctly, reports what it skips, and stops every server."""

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import e2e_vllm
import pytest
from e2e_outcome import Outcome, compare
from server_process import free_port, running, wait_for_model

from tests.support.scoring import call, tool, turn
from trainer.errors import EndpointError, OutputError
from trainer.scoring.predictions import write_predictions

TOOLS = [tool("f", make={"type": "string"})]
SERVER = """
import http.server, os, subprocess, sys
child = subprocess.Popen(["sleep", "100"])
open(sys.argv[2], "w").write(f"{os.getpid()} {child.pid}")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"data": [{"id": "carsales"}]}'
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_without_vllm_it_explains_the_option_and_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert e2e_vllm.main([]) == 0
    assert "skipped" in capsys.readouterr().out
    assert e2e_vllm.main(["--only", "adapter"]) == 2
    assert e2e_vllm.main(["--vllm", "/no/vllm"]) == 2
    assert "/no/vllm: no such program" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.skipif(not shutil.which("sleep"), reason="needs sleep")
def test_a_server_is_stopped_with_all_its_child_processes(tmp_path: Path) -> None:
    port, pids, log = free_port(), tmp_path / "pids", tmp_path / "log"
    url = f"http://127.0.0.1:{port}/v1"

    def interrupted() -> None:
        with running([sys.executable, "-c", SERVER, port, pids], cwd=tmp_path, log=log) as process:
            wait_for_model(url, "carsales", process=process, log=log, say=print, limit_s=30)
            assert all(alive(int(pid)) for pid in pids.read_text().split())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    time.sleep(0.2)
    assert not any(alive(int(pid)) for pid in pids.read_text().split())


def test_a_server_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        pytest.raises(EndpointError, match="no such rank"),
        running([sys.executable, "-c", "raise SystemExit('no such rank')"], cwd=tmp_path, log=log) as process,
    ):
        wait_for_model("http://127.0.0.1:9/v1", "x", process=process, log=log, say=print, limit_s=30)


def outcome(tmp_path: Path, served: list[Any], own: list[Any], **parity: Any) -> Outcome:
    run, result = tmp_path / "run", tmp_path / "served"
    write_predictions(run / "predictions" / "final.jsonl", own)
    write_predictions(result / "lenient.jsonl", served, TOOLS)
    (result / "metrics.json").write_text("{}")
    found = {"n_turns": 4, "prompts_agree": True, "n_compared": 4, "answer_agreement": 1.0, **parity}
    (tmp_path / "parity.json").write_text(json.dumps(found))
    return compare("adapter", run, result, tmp_path / "parity.json", start_s=1, eval_s=1)


def turns(n_right: int, n: int = 12) -> list[Any]:
    gold = [call("f", make="Kia")]
    return [turn(gold, gold if i < n_right else "Hello.", session=f"s{i % 6}", index=i) for i in range(n)]


def test_the_same_answers_pass(tmp_path: Path) -> None:
    found = outcome(tmp_path, turns(9), turns(9))
    assert (found.passes, found.n_identical, found.n_turns, found.differs) == (True, 12, 12, ())


def test_a_rate_that_differs_beyond_chance_does_not_pass(tmp_path: Path) -> None:
    found = outcome(tmp_path, turns(1), turns(11))
    assert not found.passes
    assert "turn_exact" in found.differs
    assert found.n_identical == 2


def test_a_differing_prompt_does_not_pass(tmp_path: Path) -> None:
    assert not outcome(tmp_path, turns(9), turns(9), prompts_agree=False).passes


def test_nothing_compared_does_not_pass(tmp_path: Path) -> None:
    assert not outcome(tmp_path, turns(9), turns(9), n_turns=0).passes
    assert not outcome(tmp_path, [], turns(9)).passes


def test_turns_that_the_run_skipped_are_left_out_on_both_sides_with_their_errors(tmp_path: Path) -> None:
    own, served = turns(9), turns(9)
    for index in (0, 9):  # one that was right, one that was wrong
        skipped: Any = {"calls": (), "content": "", "text": ""}
        own[index] = replace(own[index], **skipped, finish_reason="skipped_for_length")
        served[index] = replace(served[index], **skipped, finish_reason="error", error="context_too_long")
    found = outcome(tmp_path, served, own)
    assert (found.n_turns, found.n_skipped, found.n_errors, found.n_identical) == (10, 2, 0, 10)
    assert found.rates == found.training
    assert found.rates["turn_exact"] == 0.8
    assert found.passes


def test_turns_that_the_run_never_judged_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="has changed since the run"):
        outcome(tmp_path, turns(9), turns(9)[:5])
