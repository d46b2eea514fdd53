"""Run a server in its own process, wait until it offers a model, and always stop it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from trainer.errors import EndpointError

# By default, vLLM on a CPU reserves half of the memory for its cache. Offline mode keeps it from downloading weights.
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "2"}
_STOP_S = 20.0


@contextlib.contextmanager
def running(command: Sequence[object], *, cwd: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server inside the block, in its own process group, which is stopped as a whole."""
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=_ENVIRONMENT | os.environ,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            stop(process)


@contextlib.contextmanager
def exiting_on_sigterm() -> Iterator[None]:
    """Exit on SIGTERM inside the block, which stops the servers that run there."""
    earlier = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and everything that it started: with SIGTERM, then with SIGKILL."""
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    _signal_group(process, signal.SIGKILL)  # also workers that outlived their parent
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def wait_for_model(
    url: str,
    name: str,
    *,
    process: subprocess.Popen[bytes],
    log: Path,
    say: Callable[[str], None],
    limit_s: float = 600.0,
) -> None:
    """Return once a server offers a model. Raises `EndpointError` with the end of its log if it never does."""
    started = shown = time.monotonic()
    while time.monotonic() - started < limit_s and process.poll() is None:
        if name in _models(url):
            return
        if time.monotonic() - shown > 15:
            shown = time.monotonic()
            say(f"waiting for {url}: {shown - started:.0f} s")
        time.sleep(1)
    state = "ended" if process.poll() is not None else f"offers no model {name} after {limit_s:.0f} s"
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
    raise EndpointError(f"the server {state}; the end of {log}:\n{tail}")


def _models(url: str) -> list[str]:
    try:
        with urllib.request.urlopen(f"{url}/models", timeout=5) as response:
            return [entry["id"] for entry in json.load(response)["data"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def free_port() -> int:
    """A free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
