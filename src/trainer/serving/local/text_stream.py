"""The text of an answer while it grows: finds stop strings, and streams what cannot become part of one."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trainer.serving.local.responses import AnswerHead, ChatAnswer, closing_chunks, opening_chunk, text_chunk
from trainer.tokenizer import decode_text


class Send(Protocol):
    """Sends the chunks of a stream to a client. Both methods raise `ConnectionError` if the client is gone."""

    def __call__(self, chunk: Mapping[str, Any], /) -> None: ...
    def check(self) -> None: ...


class AnswerText:
    """The text of an answer up to the first stop string, which is not part of it."""

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer, self._stops = tokenizer, stops
        self.text = ""
        self.is_stopped = False

    def read(self, token_ids: Sequence[int]) -> None:
        """Receive the whole answer so far."""
        text = decode_text(self._tokenizer, token_ids)
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        self.is_stopped = bool(found)
        self.text = text[: min(found)] if found else text

    @property
    def settled(self) -> str:
        """The part of the text that stays as it is, whatever comes next."""
        if self.is_stopped:
            return self.text
        text = self.text.rstrip("\ufffd")  # a character may need several tokens
        return text[: len(text) - max((_n_begun(text, stop) for stop in self._stops), default=0)]


def _n_begun(text: str, stop: str) -> int:
    """Return how many characters at the end of a text begin the stop string."""
    longest = min(len(stop) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class TextStream:
    """Streams an answer: its text as it grows if no calls are read from it, else all at once when it is complete."""

    def __init__(self, head: AnswerHead, send: Send, *, live: bool) -> None:
        self._head, self._send, self._live = head, send, live
        self._n_sent = 0
        self._is_open = False

    def advance(self, settled: str) -> None:
        """Receive the settled text of the answer so far."""
        if not self._is_open:
            self._send(opening_chunk(self._head))
            self._is_open = True
        if self._live and len(settled) > self._n_sent:
            self._send(text_chunk(self._head, settled[self._n_sent :]))
            self._n_sent = len(settled)

    def finish(self, answer: ChatAnswer, *, include_usage: bool) -> None:
        """Send the rest of the answer."""
        self.advance(answer.message["content"] if self._live else "")
        for chunk in closing_chunks(answer, with_text=not self._live, include_usage=include_usage):
            self._send(chunk)
