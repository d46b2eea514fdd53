"""The assistant's answers, which depend only on the situation and the results of the tools.

A domain has one wording per situation, with facts in the order of the result, so a small model can learn it from few
sessions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

TIME_QUESTION = "Which time suits you?"
DAY_QUESTION = "Which other day suits you?"


class Outcome(NamedTuple):
    """A call and its result."""

    name: str
    arguments: Mapping[str, Any]
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """The assistant's statement, and its next question, if any."""

    statement: str
    question: str = ""


@dataclass(frozen=True, slots=True)
class Replies:
    """All the wordings of a domain's assistant.

    `asked_for` has words for each missing argument, `talk` the answer to each kind of small talk, `facts` a template
    for each fact in an earlier result, `success` a report for each tool, and `failure` reports an error.
    """

    asked_for: Mapping[str, str]
    talk: Mapping[str, str]
    facts: Mapping[str, str]
    success: Mapping[str, Callable[[Mapping[str, Any]], Reply]]
    failure: Callable[[Outcome], Reply]

    def ask_for(self, *missing: str) -> str:
        """Return the question for missing arguments, given in the schema's order.

        >>> words = {"plate": "the plate", "mileage": "the mileage", "phone": "your phone number"}
        >>> Replies(words, {}, {}, {}, plain_failure).ask_for("plate", "mileage", "phone")
        'Please tell me the plate, the mileage and your phone number.'
        """
        words = [self.asked_for[name] for name in missing]
        head = ", ".join(words[:-1])
        return f"Please tell me {head} and {words[-1]}." if head else f"Please tell me {words[-1]}."

    def report(self, outcomes: Sequence[Outcome]) -> str:
        """Return the assistant's report on the results of one turn's calls, in the order of the calls."""
        replies = [self.failure(o) if "error" in o.result else self.success[o.name](o.result) for o in outcomes]
        questions = [reply.question for reply in replies if reply.question]
        return " ".join([*(reply.statement for reply in replies), *questions[-1:]])

    def fact(self, topic: str, known: Mapping[str, Any]) -> str:
        """Return the answer to a question about a fact in an earlier result."""
        return self.facts[topic].format(**known)


def date_note(days: Sequence[str]) -> str:
    """Return the assistant's words before a call with dates that the customer did not write out.

    >>> date_note(["tomorrow 28.04.", "Thursday 01.05."])
    'That is tomorrow 28.04. and Thursday 01.05.'
    """
    return f"That is {' and '.join(days)}"


def filled(text: str) -> Callable[[Mapping[str, Any]], Reply]:
    """Return a function that fills a template with a result."""
    return lambda result: Reply(text.format(**result))


def plain_failure(outcome: Outcome, *, question: str = "Please check it.") -> Reply:
    """Return the report on an error: the free times, if the office named them, or else a question."""
    statement = f"Sorry, {outcome.result['error']}."
    if outcome.result.get("free"):
        return Reply(f"{statement} Free times: {', '.join(outcome.result['free'])}.", TIME_QUESTION)
    return Reply(statement, question)
