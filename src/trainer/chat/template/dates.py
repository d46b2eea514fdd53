"""Find out how a chat template learns the date, so a session can be rendered as on its own day. Reads no clock.

A server renders a prompt on the day of the request. A template learns that day from a keyword argument
(`date_string` in Llama 3), or it calls `strftime_now`, which transformers and vLLM define.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Any, NamedTuple

from jinja2 import nodes

from trainer.chat.template.source import TemplateSource
from trainer.util.clock import DateArgument

_FORMATS = ("%d %b %Y", "%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%b %d, %Y", "%d/%m/%Y", "%d.%m.%Y")


class TemplateDates(NamedTuple):
    """How a template learns the date: from an argument, from a clock, or (mostly) not at all."""

    argument: DateArgument | None = None
    reads_clock: bool = False

    def on(self, day: date) -> dict[str, Any]:
        """Return the arguments that make the template write a day as the current one."""
        given: dict[str, Any] = {} if self.argument is None else self.argument.on(day)
        if self.reads_clock:
            given["strftime_now"] = fixed_clock(day)
        return given


NO_DATES = TemplateDates()


def fixed_clock(day: date) -> Callable[[str], str]:
    """Return a `strftime_now` that always returns noon of a day."""
    return datetime.combine(day, time(12)).strftime


def find_dates(source: TemplateSource, template_kwargs: Mapping[str, Any]) -> TemplateDates:
    """Return how a template learns the date. An argument that is already set stays as it is."""
    reads_clock = "strftime_now" in source.text and "strftime_now" not in template_kwargs
    for name in source.template_kwargs:
        form = next(_forms(source, name), None) if "date" in name and name not in template_kwargs else None
        if form is not None:
            return TemplateDates(DateArgument(name, form), reads_clock)
    return TemplateDates(None, reads_clock)


def _forms(source: TemplateSource, name: str) -> Iterator[str]:
    """Yield the formats in which a template writes an argument: that of its default first."""
    defaults = [
        assign.node
        for assign in source.tree.find_all(nodes.Assign)
        if isinstance(assign.target, nodes.Name) and assign.target.name == name
    ]
    for value in defaults:
        yield from _clock_forms(value)
    for value in defaults:
        for constant in (value, *value.find_all(nodes.Const)):
            if isinstance(constant, nodes.Const) and isinstance(constant.value, str):
                yield from (form for form in _FORMATS if _is_written_as(constant.value, form))
    # Without a default of its own: `{{ current_date if current_date is defined else strftime_now("%Y-%m-%d") }}`.
    branches: list[nodes.If | nodes.CondExpr] = [*source.tree.find_all(nodes.If), *source.tree.find_all(nodes.CondExpr)]
    for branch in branches:
        tested = nodes.Output([branch.test]).find_all(nodes.Name)
        if any(used.name == name for used in tested):
            yield from _clock_forms(branch)


def _clock_forms(node: nodes.Node) -> Iterator[str]:
    for call in ([node] if isinstance(node, nodes.Call) else []) + list(node.find_all(nodes.Call)):
        is_clock = isinstance(call.node, nodes.Name) and call.node.name == "strftime_now"
        if is_clock and call.args and isinstance(call.args[0], nodes.Const):
            yield str(call.args[0].value)


def _is_written_as(text: str, form: str) -> bool:
    try:
        return bool(datetime.strptime(text, form))
    except ValueError:
        return False
