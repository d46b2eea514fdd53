"""Answer the requests of the small server: models, tokenized prompts and chat completions. Uses no HTTP."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from trainer.chat import ChatEncoder
from trainer.errors import DataError, TemplateError
from trainer.generation.settings import DecodeSettings, stop_tokens
from trainer.lora_model import load_base_model
from trainer.serving.local.engine import LocalEngine
from trainer.serving.local.requests import ChatRequest, PromptRequest, RequestError, read_request
from trainer.serving.local.responses import (
    ChatAnswer,
    closing_chunks,
    completion,
    opening_chunk,
    read_message,
    text_chunk,
)
from trainer.serving.plan import ServePlan
from trainer.tokenizer import decode_text
from trainer.tools.wire import rendered_tool
from trainer.training.finished_run import FinishedRun
from trainer.training.load_run import load_adapted, with_dtype
from trainer.types import Message

Send = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class LocalService:
    """A model with OpenAI's protocol. The methods raise `RequestError` if a request cannot be answered."""

    plan: ServePlan
    engine: LocalEngine
    stop_token_ids: frozenset[int]

    def models(self) -> dict[str, Any]:
        """Return the response to GET /v1/models."""
        limit = self.plan.max_context_tokens
        entries = [{"id": name, "object": "model", "owned_by": "local"} for name in reversed(self.plan.names)]
        return {"object": "list", "data": [{**entry, "max_model_len": limit} for entry in entries]}

    def tokenize(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the response to POST /tokenize, in the form that vLLM has."""
        tokens = self._prompt(read_request(PromptRequest, body))
        return {"count": len(tokens), "max_model_len": self.plan.max_context_tokens, "tokens": tokens}

    def complete(self, body: Mapping[str, Any], *, send: Send) -> dict[str, Any] | None:
        """Return the response to POST /v1/chat/completions, or None after streaming it to `send` in chunks."""
        request = read_request(ChatRequest, body)
        name = self._model_name(request)
        prompt_ids = self._prompt(request)
        settings = self._settings(request, n_prompt=len(prompt_ids))
        tokenizer = self.plan.chat.tokenizer
        stream = _TextStream(name, send, tokenizer, live=not request.reads_calls) if request.stream else None
        generated = self.engine.generate(
            prompt_ids,
            settings,
            adapted=name == self.plan.names[0],
            on_token=stream.advance if stream else lambda token_ids: None,
        )
        text = decode_text(tokenizer, generated.token_ids)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if request.reads_calls:
            finished = generated.finish_reason == "stop"
            message = read_message(text, fmt=self.plan.chat.fmt, tools=request.tools or (), finished=finished)
        reason = "tool_calls" if "tool_calls" in message and generated.finish_reason == "stop" else None
        answer = ChatAnswer(
            name,
            message,
            reason or generated.finish_reason,
            prompt_ids,
            generated.token_ids,
            generated.n_cached,
        )
        if stream is None:
            return completion(answer, return_token_ids=request.return_token_ids)
        usage = request.stream_options is not None and request.stream_options.include_usage
        stream.finish(answer, include_usage=usage)
        return None

    def _model_name(self, request: PromptRequest) -> str:
        name = request.model or self.plan.names[0]
        if name not in self.plan.names:
            raise RequestError(404, f"The model {name!r} does not exist; served: {', '.join(self.plan.names)}")
        return name

    def _prompt(self, request: PromptRequest) -> list[int]:
        self._model_name(request)
        if not request.add_generation_prompt:
            raise RequestError(400, "add_generation_prompt: only true is supported")
        encoder = self.plan.chat.encoder
        template_kwargs = {**encoder.template_kwargs, **(request.chat_template_kwargs or {})}
        if template_kwargs != encoder.template_kwargs:
            encoder = ChatEncoder(self.plan.chat.tokenizer, template_kwargs=template_kwargs)
        try:
            tools = [
                rendered_tool(tool, where=f"tools: tool {position}").tool
                for position, tool in enumerate(request.tools or (), start=1)
            ]
            return encoder.prompt_ids(cast(list[Message], request.messages), tools)
        except (DataError, TemplateError) as error:
            raise RequestError(400, str(error)) from error

    def _settings(self, request: ChatRequest, *, n_prompt: int) -> DecodeSettings:
        limit = self.plan.max_context_tokens
        n_new = request.limit or limit - n_prompt
        if n_new < 1 or n_prompt + n_new > limit:
            raise RequestError(
                400,
                f"This model's maximum context length is {limit} tokens; the prompt has {n_prompt} and the answer "
                f"may have {n_new}. Shorten one of them",
            )
        return DecodeSettings(
            stop_token_ids=self.stop_token_ids,
            max_new_tokens=n_new,
            max_context_tokens=limit,
            temperature=1.0 if request.temperature is None else request.temperature,
            seed=random.getrandbits(31) if request.seed is None else request.seed,
        )


class _TextStream:
    """Streams an answer: its text as it grows if no calls are read from it, else all at once when it is complete."""

    def __init__(self, model: str, send: Send, tokenizer: Any, *, live: bool) -> None:
        self._model, self._send, self._tokenizer, self._live = model, send, tokenizer, live
        self._n_sent = 0
        self._opened = False

    def advance(self, token_ids: Any) -> None:
        """Receive the answer so far."""
        if not self._opened:
            self._send(opening_chunk(self._model))
            self._opened = True
        if self._live:
            text = decode_text(self._tokenizer, token_ids)
            if not text.endswith("\ufffd"):  # a character may need several tokens
                self._send_text(text)

    def finish(self, answer: ChatAnswer, *, include_usage: bool) -> None:
        """Send the rest of the answer."""
        self.advance(())
        if self._live:
            self._send_text(answer.message["content"])
        for chunk in closing_chunks(answer, with_text=not self._live, include_usage=include_usage):
            self._send(chunk)

    def _send_text(self, text: str) -> None:
        if len(text) > self._n_sent:
            self._send(text_chunk(self._model, text[self._n_sent :]))
            self._n_sent = len(text)


def load_service(run: FinishedRun, plan: ServePlan) -> LocalService:
    """Load the model and tokenizer of a plan. Raises `ModelError`."""
    if plan.adapter is not None:
        model: Any = load_adapted(run)
    else:
        cfg = with_dtype(run.cfg, plan.dtype)
        merged = {"base_model_name": plan.model, "revision": None, "quantization": None}
        cfg = cfg.model_copy(update={"model": cfg.model.model_copy(update=merged)})
        model = load_base_model(cfg)
    stops = frozenset(plan.chat.encoder.stop_token_ids) | stop_tokens(model.generation_config)
    return LocalService(plan, LocalEngine(model), stops)
