"""Show a live conversation: in colour in a terminal, with one line for each turn anywhere else. Asks no model."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rich.status import Status
from rich.text import Text

from trainer.live_chat.answers import Reply
from trainer.live_chat.exchange import CommandGiven
from trainer.live_chat.executing import SKIPPED, typed_result
from trainer.reports.text import plain, shortened
from trainer.types import Call, ParsedCall
from trainer.util.terminal import make_console

_MOST_LINES = 30  # of one result
_MOST_CHARACTERS = 2000  # of a broken attempt or a one-line value
_PROMPT = "you> "


class Screen:
    """Writes to standard output and reads from standard input. Control characters in texts are written out."""

    def __init__(self, *, max_context_tokens: int) -> None:
        self._console = make_console(verbatim=True)
        self._is_terminal = self._console.is_terminal and sys.stdin.isatty()
        self._limit = max_context_tokens
        self._waiting: Status | None = None
        self._column_zero = True
        self._wrote_prose = False
        if self._is_terminal:
            with suppress(ImportError):  # line editing and history, where Python has them
                import readline  # noqa: F401

    @property
    def is_terminal(self) -> bool:
        """Whether somebody types and reads."""
        return self._is_terminal

    def read(self, prompt: str = _PROMPT) -> str:
        r"""Return the next line; one that ends with a backslash goes on in the next. Raises `EOFError` at the end."""
        lines = [self._read_line(prompt)]
        while lines[-1].endswith("\\") and self._is_terminal:
            lines[-1] = lines[-1][:-1]
            lines.append(self._read_line("...> "))
        return "\n".join(lines)

    def _read_line(self, prompt: str) -> str:
        if self._is_terminal:
            return input(prompt)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\r\n")

    def print(self, text: str, *, style: str = "") -> None:
        """Write lines of the program's own."""
        self._stop_waiting()
        self._console.print(Text(plain(text), style), soft_wrap=True)

    def note(self, text: str) -> None:
        """Write a remark."""
        self.print(f"({text})", style="yellow")

    def begin_answer(self) -> None:
        """Show that the model is being asked."""
        self._wrote_prose = False
        if self._is_terminal:
            self._waiting = self._console.status("", spinner="dots")
            self._waiting.start()

    def prose(self, piece: str) -> None:
        """Write the next piece of an answer."""
        if not self._is_terminal:
            return
        self._stop_waiting()
        if not self._wrote_prose:
            self._console.print(Text("model> ", "bold green"), end="")
            self._wrote_prose = True
        self._console.print(Text(plain(piece)), end="", soft_wrap=True)

    def end_answer(self, reply: Reply) -> None:
        """End the line of an answer, with the length of the conversation so far."""
        self._stop_waiting()
        if not self._is_terminal:
            if reply.content or not reply.calls:
                self._console.print(Text(f"model: {_one_line(reply.content)}"), soft_wrap=True)
            return
        if not self._wrote_prose and not reply.calls:
            self._console.print(Text("model> ", "bold green") + Text("(an empty answer)", "dim"), end="")
            self._wrote_prose = True
        if self._wrote_prose:
            self._console.print(Text(self._length(reply), "dim"))

    def interrupted(self) -> None:
        """End whatever was being written."""
        self._stop_waiting()
        if self._is_terminal:
            self._console.print()

    def call(self, call: Call, problems: Sequence[str]) -> None:
        """Show a call, and how it breaks its tool's schema."""
        if not self._is_terminal:
            marks = "".join(f"; breaks its schema: {_one_line(problem)}" for problem in problems)
            self._line("call", f"{_one_line(call.name)} {_one_line(_json(call.arguments))}{marks}")
            return
        self._console.print(Text("  → ", "cyan") + Text(plain(call.name), "bold cyan"))
        width = max((len(name) for name in call.arguments), default=0)
        for name, value in call.arguments.items():
            text = Text(f"      {plain(name):<{width}}  ", "cyan") + Text(plain(_pretty(value, indent=width + 8)))
            self._console.print(text, soft_wrap=True)
        for problem in problems:
            self._console.print(Text(f"    ! breaks its schema: {plain(problem)}", "bold red"), soft_wrap=True)

    def broken(self, attempt: ParsedCall, reason: str) -> None:
        """Show an attempt at a call that cannot be run, and why."""
        if not self._is_terminal:
            self._line("broken call", f"{_one_line(reason)}: {_one_line(attempt.raw)}")
            return
        self._console.print(Text(f"  ✗ a call that cannot be run: {plain(reason)}", "bold red"), soft_wrap=True)
        self._console.print(Text(_indented(shortened(plain(attempt.raw), most=_MOST_CHARACTERS), 6), "red"))

    def result(self, text: str) -> None:
        """Show what a tool returned."""
        if not self._is_terminal:
            self._line("result", _one_line(text))
            return
        self._console.print(Text("  ← ", "magenta") + Text(_result_lines(text), "dim"), soft_wrap=True)

    def ask_result(self, call: Call) -> str:
        """Return what somebody says that a tool returns. Raises `CommandGiven` for a line that begins with /."""
        text = self.read(f"  result of {plain(call.name)} (JSON or text; empty: not available)> ")
        if text.startswith("/"):
            raise CommandGiven(text)
        result = typed_result(text)
        if result == SKIPPED or not self._is_terminal:  # else it is still to be read where it was typed
            self.result(result)
        return result

    def _length(self, reply: Reply) -> str:
        if reply.n_prompt_tokens is None or reply.n_tokens is None:
            return ""
        return f"  [{reply.n_prompt_tokens + reply.n_tokens:,} of {self._limit:,} tokens]"

    def _line(self, what: str, text: str) -> None:
        self._console.print(Text(f"{what}: {text}"), soft_wrap=True)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None


def _json(value: Any, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, **options)


def _pretty(value: Any, *, indent: int) -> str:
    """Return a value as JSON: on one line if it is short, else indented."""
    text = _json(value)
    if len(text) <= 80 or not isinstance(value, dict | list):
        return shortened(text, most=_MOST_CHARACTERS)
    return _indented(_json(value, indent=2), indent).lstrip()


def _result_lines(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    shown = plain(text if isinstance(value, str) else _pretty(value, indent=4))
    lines = shown.split("\n")
    more = [f"    … {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
    return "\n".join([*lines[:_MOST_LINES], *more])


def _indented(text: str, n_spaces: int) -> str:
    return "\n".join(" " * n_spaces + line for line in text.split("\n"))


def _one_line(text: str) -> str:
    return plain(text).replace("\\n", "\\\\n").replace("\n", "\\n").replace("\t", " ")
