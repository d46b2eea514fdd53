"""Scripted models, tools and terminals for the tests of live conversations.

`python -m tests.support.live_chat RUN ANSWERS [WORD …]` is `tool-sft chat --run RUN WORD …` with an engine that gives
the answers of a JSON file, one after the other, and a simulator that always finds the same car. An answer that begins
with "slowly" comes slowly.
"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from tests.support.quick import ROOT

CAR = {"cars": [{"car": "Fiat Panda", "id": "V15"}]}
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class ScriptedTexts:
    """Replaces `LocalEngine`: gives one text after the other. `prompts` are the prompts that it received."""

    def __init__(self, tokenizer: Any, texts: Sequence[str], *, finish_reason: Any = "stop") -> None:
        self._tokenizer, self._texts, self._finish_reason = tokenizer, list(texts), finish_reason
        self.prompts: list[list[int]] = []
        self.asked: list[tuple[bool, Any]] = []

    def generate(self, prompt_ids: Any, settings: Any, *, adapted: bool, on_token: Any) -> Any:
        """Give the next text, token by token."""
        from trainer.serving.local.engine import Generated

        self.prompts.append(list(prompt_ids))
        self.asked.append((adapted, settings))
        text = self._texts.pop(0)
        ids = tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        for end in range(1, len(ids) + 1):
            time.sleep(0.2 if text.startswith("slowly") else 0)
            on_token(ids[:end])
        return Generated(ids, self._finish_reason, 0)


def use_script(patch: Callable[[str, Any], None], texts: Sequence[str], *, tools: bool = True) -> None:
    """Make `tool-sft chat` use scripted texts, and car_sales have a scripted simulator or none.

    `patch` sets an attribute by name.
    """
    from trainer.serving.local.service import LocalService

    def load(run: Any, plan: Any) -> LocalService:
        engine: Any = ScriptedTexts(plan.chat.tokenizer, texts)
        return LocalService(plan, engine, frozenset(plan.stop_token_ids))

    patch("trainer.serving.local.service.load_service", load)
    patch("car_sales.make_tool_executor", make_tool_executor if tools else None)


def make_tool_executor(cfg: Any, *, now: datetime) -> Callable[[str, Mapping[str, Any]], Any]:
    """Return tools that always find the same car."""
    return lambda name, arguments: CAR


class Terminal:
    """A program in a pseudo-terminal of 100 columns. `seen` is everything that it wrote, without colours."""

    def __init__(self, words: Sequence[str], *, folder: Path) -> None:
        self._master, slave = pty.openpty()
        import fcntl
        import struct
        import termios

        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}

        def take_terminal() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background of a shell ignores it
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so Ctrl-C is a signal

        self._process = subprocess.Popen(
            [sys.executable, *words], stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, cwd=folder, env=environment,
            preexec_fn=take_terminal,
        )  # fmt: skip
        os.close(slave)
        self.seen, self._n_read = "", 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def expect(self, text: str, *, timeout_s: float = 120.0) -> str:
        """Wait until the program has written a text after what was expected before. Returns what came until then."""
        until = time.monotonic() + timeout_s
        while text not in self.seen[self._n_read :]:
            ready, _, _ = select.select([self._master], [], [], 0.5)
            try:
                read = os.read(self._master, 4096) if ready else b""
            except OSError:  # the program has ended
                read = b""
                until = 0.0
            self.seen = _ESCAPE.sub("", self.seen + read.decode("utf-8", "replace"))
            assert time.monotonic() < until, f"{text!r} does not come; the program wrote {self.seen!r}"
        end = self.seen.index(text, self._n_read) + len(text)
        found, self._n_read = self.seen[self._n_read : end], end
        return found

    def send(self, text: str) -> None:
        """Type a text."""
        os.write(self._master, text.encode())

    def wait(self) -> int:
        """Return the exit code."""
        return self._process.wait(60)


def main(words: Sequence[str]) -> int:
    """Run the command with a script."""
    run, answers, *rest = words
    import importlib

    def patch(name: str, value: Any) -> None:
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)

    use_script(patch, json.loads(Path(answers).read_text(encoding="utf-8")))
    from trainer.commands.main import main as tool_sft

    return tool_sft(["chat", "--run", run, *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
