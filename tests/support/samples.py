"""The shipped sample sessions of the domains that have a simulator."""

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from simulator_kit.sessions import Simulation
from tests.support.quick import ROOT

Messages = list[dict[str, Any]]
SPLITS = ("train", "test")
DOMAINS = ("car_sales", "insurance")
TOOLS_OF = {"car_sales": "data/tool_calls.json", "insurance": "data/insurance/tool_calls.json"}


@dataclass(frozen=True)
class Sample:
    """The sessions of one split of a domain, and what made them."""

    domain: str
    split: str

    def __str__(self) -> str:
        """The name of the parameter in the name of a test."""
        return f"{self.domain}-{self.split}"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the shipped file."""
        return rows_of(self.domain, self.split)

    @property
    def conversations(self) -> list[Messages]:
        """The messages of each row."""
        return [row["conversation"] for row in self.rows]

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """The parameters of each tool."""
        return schemas_of(self.domain)

    @property
    def simulation(self) -> Simulation[Any]:
        """What generated the sessions."""
        found: Simulation[Any] = self.part("sessions").SIMULATION
        return found

    @property
    def bank(self) -> ModuleType:
        """What the customers of this split say."""
        return self.part(f"phrases.{self.split}")

    def part(self, name: str) -> ModuleType:
        """Return a module of the simulator."""
        return importlib.import_module(f"{self.domain}.simulator.{name}")

    def share(self, holds: Any) -> float:
        """Return the share of sessions for which a function of the messages holds."""
        found = [bool(holds(messages)) for messages in self.conversations]
        return sum(found) / len(found)


SAMPLES = tuple(Sample(domain, split) for domain in DOMAINS for split in SPLITS)


@cache
def rows_of(domain: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of a shipped file."""
    return [json.loads(line) for line in text_of(domain, split).splitlines()]


@cache
def schemas_of(domain: str) -> dict[str, dict[str, Any]]:
    """Return the parameters of each tool of a domain."""
    tools = json.loads((ROOT / TOOLS_OF[domain]).read_text(encoding="utf-8"))
    return {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}


def text_of(domain: str, split: str) -> str:
    """Return the text of a shipped file."""
    return (ROOT / "data" / domain / f"{split}.jsonl").read_text(encoding="utf-8")


def arguments_of(call: dict[str, Any]) -> dict[str, Any]:
    """Return the decoded arguments of a call."""
    decoded: dict[str, Any] = json.loads(call["function"]["arguments"])
    return decoded


def calls_of(messages: Messages) -> list[tuple[str, dict[str, Any]]]:
    """Return names and arguments of all calls."""
    turns = (message["tool_calls"] or () for message in messages)
    return [(call["function"]["name"], arguments_of(call)) for turn in turns for call in turn]


def results_of(messages: Messages) -> list[Any]:
    """Return all results of tools."""
    return [json.loads(message["content"]) for message in messages if message["role"] == "tool"]


def walked(value: Any, schema: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every value in arguments, at any depth, with its schema."""
    yield value, schema
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walked(item, schema["properties"][key])
    elif isinstance(value, list):
        for item in value:
            yield from walked(item, schema["items"])


def said_by_customers(sample: Sample) -> set[str]:
    """Return everything that customers say, without case and punctuation."""
    texts = (m["content"] for messages in sample.conversations for m in messages if m["role"] == "user")
    return {re.sub(r"\W+", " ", text.casefold()).strip() for text in texts}
