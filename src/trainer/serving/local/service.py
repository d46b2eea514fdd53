"""Answer the requests of the small server: models, tokenized prompts and chat completions. Uses no HTTP."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.generation.settings import stop_tokens
from trainer.lora_model import load_base_model
from trainer.serving.local.engine import LocalEngine, NucleusSettings
from trainer.serving.local.prompts import PromptBuilder
from trainer.serving.local.request_error import RequestError
from trainer.serving.local.requests import ChatRequest, PromptRequest, read_request
from trainer.serving.local.responses import AnswerHead, ChatAnswer, completion, read_message
from trainer.serving.local.text_stream import AnswerText, Send, TextStream
from trainer.serving.plan import ServePlan
from trainer.training.finished_run import FinishedRun
from trainer.training.load_run import load_adapted, with_dtype


@dataclass(frozen=True, slots=True)
class LocalService:
    """A model with OpenAI's protocol. The methods raise `RequestError` if a request cannot be answered."""

    plan: ServePlan
    engine: LocalEngine
    stop_token_ids: frozenset[int]
    _prompts: PromptBuilder = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_prompts", PromptBuilder(self.plan.chat))

    def models(self) -> dict[str, Any]:
        """Return the response to GET /v1/models: the adapter first, then the base model."""
        return {"object": "list", "data": [self.model(name) for name in self.plan.names]}

    def model(self, name: str) -> dict[str, Any]:
        """Return the response to GET /v1/models/{id}."""
        self._require(name)
        return {"id": name, "object": "model", "owned_by": "local", "max_model_len": self.plan.max_context_tokens}

    def tokenize(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the response to POST /tokenize, in the form that vLLM has."""
        request = read_request(PromptRequest, body)
        self._name(request)
        tokens = self._prompts.ids(request)
        return {"count": len(tokens), "max_model_len": self.plan.max_context_tokens, "tokens": tokens}

    def complete(self, body: Mapping[str, Any], *, send: Send) -> dict[str, Any] | None:
        """Return the response to POST /v1/chat/completions, or None after streaming it to `send` in chunks.

        With `tool_choice: "none"`, calls that the model writes all the same are dropped, and the prose around them is
        the content. Raises `ConnectionError` if the client goes away.
        """
        request = read_request(ChatRequest, body)
        head = AnswerHead.new(self._name(request))
        prompt_ids = self._prompts.ids(request)
        settings = self._settings(request, n_prompt=len(prompt_ids))
        text = AnswerText(self.plan.chat.tokenizer, request.stop or ())
        stream = TextStream(head, send, live=not request.reads_calls) if request.stream else None

        def advance(token_ids: Sequence[int]) -> bool:
            send.check()
            if not token_ids or not (request.stop or request.stream):
                return False
            text.read(token_ids)
            if stream is not None:
                stream.advance(text.settled)
            return text.is_stopped

        generated = self.engine.generate(
            prompt_ids,
            settings,
            adapted=head.model == self.plan.names[0],
            on_token=advance,
        )
        text.read(generated.token_ids)
        reason: str = "stop" if text.is_stopped else generated.finish_reason
        message: dict[str, Any] = {"role": "assistant", "content": text.text}
        if request.reads_calls:
            message = read_message(
                text.text,
                fmt=self.plan.chat.fmt,
                tools=request.tools or (),
                finished=reason == "stop",
                most_calls=request.most_calls,
            )
        if "tool_calls" in message and reason == "stop":
            reason = "tool_calls"
        answer = ChatAnswer(head, message, reason, prompt_ids, generated.token_ids, generated.n_cached)
        if stream is None:
            return completion(answer, return_token_ids=bool(request.return_token_ids))
        usage = request.stream_options is not None and bool(request.stream_options.include_usage)
        stream.finish(answer, include_usage=usage)
        return None

    def _name(self, request: PromptRequest) -> str:
        name = request.model or self.plan.names[0]
        self._require(name)
        return name

    def _require(self, name: str) -> None:
        if name not in self.plan.names:
            known = ", ".join(self.plan.names)
            raise RequestError(404, f"The model {name!r:.200} does not exist; served: {known}", param="model")

    def _settings(self, request: ChatRequest, *, n_prompt: int) -> NucleusSettings:
        limit = self.plan.max_context_tokens
        n_new = request.limit or limit - n_prompt
        if n_new < 1 or n_prompt + n_new > limit:
            raise RequestError(
                400,
                f"This model's maximum context length is {limit} tokens; the prompt has {n_prompt} and the answer "
                f"may have {n_new}. Shorten one of them",
            )
        outside = [token for token in request.token_bias if token >= self.engine.n_vocabulary]
        if outside:
            raise RequestError(
                400,
                f"logit_bias: there is no token {outside[0]}; the model has {self.engine.n_vocabulary}",
                param="logit_bias",
            )
        return NucleusSettings(
            stop_token_ids=self.stop_token_ids,
            max_new_tokens=n_new,
            max_context_tokens=limit,
            temperature=1.0 if request.temperature is None else request.temperature,
            seed=random.getrandbits(31) if request.seed is None else request.seed,
            logit_bias=request.token_bias,
            top_p=1.0 if request.top_p is None else request.top_p,
        )


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
