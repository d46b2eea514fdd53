"""Answer in process with the engine and the prompts of the small server, and stream the prose. Uses no HTTP."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.errors import DataError
from trainer.generation.settings import DecodeSettings
from trainer.live_chat.answers import OnProse, Reply, too_long
from trainer.serving.local.prompts import PromptBuilder
from trainer.serving.local.request_error import RequestError
from trainer.serving.local.requests import ChatRequest, read_request
from trainer.serving.local.service import LocalService
from trainer.serving.local.text_stream import AnswerText
from trainer.tool_calls.streaming import AnswerStream


class ModelAnswerer:
    """The model of a run. It decodes as the run's evaluation does; `adapted` is False for the base model alone."""

    def __init__(self, service: LocalService, *, temperature: float, seed: int, adapted: bool = True) -> None:
        self._service, self._adapted = service, adapted
        self._temperature, self._seed = temperature, seed
        self._prompts = PromptBuilder(service.plan.chat)

    @property
    def name(self) -> str:
        """The name of the adapter, or of the base model."""
        adapter, *base = self._service.plan.names
        return adapter if self._adapted else f"{base[0]} without its adapter"

    @property
    def max_context_tokens(self) -> int:
        """The length of the rows of the training."""
        return self._service.plan.max_context_tokens

    def answer(self, body: Mapping[str, Any], *, on_prose: OnProse) -> Reply:
        """See `Answerer`. Raises `DataError`."""
        try:
            request = read_request(ChatRequest, body)
            prompt_ids = self._prompts.ids(request)
        except RequestError as error:
            raise DataError(str(error)) from error
        n_room = self.max_context_tokens - len(prompt_ids)
        if n_room < 1:
            raise too_long(len(prompt_ids), self.max_context_tokens)
        settings = DecodeSettings(
            stop_token_ids=self._service.stop_token_ids,
            max_new_tokens=min(request.limit or n_room, n_room),
            max_context_tokens=self.max_context_tokens,
            temperature=self._temperature,
            seed=self._seed,
            logit_bias=request.token_bias,
        )
        prose = _Prose(self._service.plan.chat, on_prose)
        found = self._service.engine.generate(prompt_ids, settings, adapted=self._adapted, on_token=prose.read)
        is_whole = found.finish_reason == "stop"
        parsed = prose.finish(found.token_ids, is_whole=is_whole, tools=request.tools or ())
        return Reply(
            text=prose.text,
            content=parsed,
            calls=prose.calls,
            finish_reason=found.finish_reason,
            n_prompt_tokens=len(prompt_ids),
            n_tokens=len(found.token_ids),
        )


class _Prose:
    """The prose of one answer, handed on as soon as no call can begin in it."""

    def __init__(self, chat: Any, on_prose: OnProse) -> None:
        self._text = AnswerText(chat.tokenizer, ())
        self._stream = AnswerStream(chat.fmt)
        self._on_prose = on_prose
        self._sent: list[str] = []
        self._n_fed = 0
        self.calls: tuple[Any, ...] = ()

    @property
    def text(self) -> str:
        """Everything that the model wrote."""
        return self._text.text

    def read(self, token_ids: Sequence[int]) -> bool:
        """Receive the answer so far. Returns False: the answer goes on."""
        if token_ids:
            self._text.read(token_ids)
            self._feed(self._text.settled)
        return False

    def finish(self, token_ids: Sequence[int], *, is_whole: bool, tools: Sequence[Any]) -> str:
        """Receive the complete answer, and return its prose."""
        self._text.read(token_ids)
        self._feed(self._text.text)
        rest, self.calls = self._stream.finish(finished=is_whole, tools=tools)
        self._send(rest)
        return "".join(self._sent)

    def _feed(self, text: str) -> None:
        if len(text) > self._n_fed:
            piece, self._n_fed = text[self._n_fed :], len(text)
            self._send(self._stream.feed(piece))

    def _send(self, piece: str) -> None:
        if piece:
            self._sent.append(piece)
            self._on_prose(piece)
