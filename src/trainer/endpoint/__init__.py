"""The client of an OpenAI-compatible server: requests, retries, and answers that are checked before use."""

from trainer.endpoint.address import base_url, read_address
from trainer.endpoint.answer import Answer, read_answer
from trainer.endpoint.client import Endpoint, EndpointSettings
from trainer.endpoint.dialect import Dialect
from trainer.endpoint.request import Generation, chat_request, turn_request, wire_messages
from trainer.endpoint.retries import RetryPolicy, retry_after_s
from trainer.endpoint.schedule import ask_turns

__all__ = [
    "Answer",
    "Dialect",
    "Endpoint",
    "EndpointSettings",
    "Generation",
    "RetryPolicy",
    "ask_turns",
    "base_url",
    "chat_request",
    "read_address",
    "read_answer",
    "retry_after_s",
    "turn_request",
    "wire_messages",
]
