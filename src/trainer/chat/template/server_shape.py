"""Give messages the shape in which vLLM's server hands them to a chat template (vLLM 0.32). Renders nothing.

The server validates a request and rebuilds its messages before the template sees them, so a template can only be
trained on what comes out of that. Two things surprise people: call arguments are always objects, and the `function`
of a call has its arguments before its name, which a template that dumps it as JSON shows.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from jinja2 import nodes

from trainer.types import Message

ContentFormat: TypeAlias = Literal["string", "openai"]
"""The content of a message as a template receives it: text, or a list of `{"type": "text", "text": …}` parts."""


def server_message(message: Message, content_format: ContentFormat) -> dict[str, Any]:
    """Return a canonical message as the template receives it."""
    role = message["role"]
    content = message.get("content") or ""
    calls = message.get("tool_calls")
    shaped: dict[str, Any] = {"role": role, "content": content}
    if content_format == "openai" and role != "tool":  # the text of tool results is joined
        # Clients send null for a turn with nothing but calls, of which no part remains.
        shaped["content"] = [{"type": "text", "text": content}] if content or not calls else []
    if calls:
        shaped["tool_calls"] = [_call(call) for call in calls]
    if message.get("reasoning_content"):
        shaped["reasoning"] = shaped["reasoning_content"] = message["reasoning_content"]
    for key in ("tool_call_id", "name"):
        if key in message:
            shaped[key] = message[key]
    return shaped


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    shaped = {"function": {"arguments": function["arguments"], "name": function["name"]}, "type": "function"}
    return {"id": call["id"], **shaped} if "id" in call else shaped


def detected_format(tree: nodes.Template) -> ContentFormat:
    """Return the content format that vLLM detects: "openai" if the template loops over the content of a message.

    The content may have gone through a variable or the parameter of a macro before the loop.
    """
    messages = _renamed(tree, {"messages"})
    targets = [loop.target for loop in tree.find_all(nodes.For) if _names(loop.iter, messages)]
    items = {target.name for target in targets if isinstance(target, nodes.Name)}
    if not all(isinstance(target, nodes.Name) for target in targets):
        return "string"  # vLLM gives up at a loop over pairs
    in_macros: dict[int, set[str]] = {}
    for macro in tree.find_all(nodes.Macro):
        given = _content_parameters(tree, macro, items)
        for loop in macro.find_all(nodes.For):  # a macro inside another one sees the outer parameters
            in_macros[id(loop)] = given or in_macros.get(id(loop), set())
    for loop in tree.find_all(nodes.For):
        parameters = in_macros.get(id(loop), {"content"})  # outside macros, a variable of this name counts
        if _is_content(loop.iter, items) or _names(loop.iter, parameters, through_filters=False):
            return "openai" if isinstance(loop.target, nodes.Name) else "string"
    return "string"


def _renamed(tree: nodes.Template, names: set[str]) -> set[str]:
    """Return the names, and those that are assigned one of them, or a filter or slice of one."""
    while True:
        found = {
            assign.target.name
            for assign in tree.find_all(nodes.Assign)
            if isinstance(assign.target, nodes.Name) and _names(assign.node, names)
        }
        if found <= names:
            return names
        names = names | found


def _content_parameters(tree: nodes.Template, macro: nodes.Macro, items: set[str]) -> set[str]:
    """Return the parameters of a macro that receive the content of a message in some call."""
    parameters = [argument.name for argument in macro.args]
    found: set[str] = set()
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == macro.name:
            found |= {name for name, given in zip(parameters, call.args, strict=False) if _is_content(given, items)}
            found |= {word.key for word in call.kwargs if word.key in parameters and _is_content(word.value, items)}
    return found


def _inner(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield a node and what its filters, tests and slices are applied to."""
    yield node
    is_slice = isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)
    if (isinstance(node, nodes.Filter | nodes.Test) or is_slice) and isinstance(node.node, nodes.Node):  # type: ignore[attr-defined]
        yield from _inner(node.node)  # type: ignore[attr-defined]


def _names(node: nodes.Node, names: set[str], *, through_filters: bool = True) -> bool:
    found = list(_inner(node))
    last = found[-1] if through_filters else node
    return isinstance(last, nodes.Name) and last.ctx == "load" and last.name in names


def _is_content(node: nodes.Node, items: set[str]) -> bool:
    last = list(_inner(node))[-1]
    if isinstance(last, nodes.Getattr):
        return last.attr == "content" and _names(last.node, items, through_filters=False)
    is_key = isinstance(last, nodes.Getitem) and isinstance(last.arg, nodes.Const) and last.arg.value == "content"
    return is_key and _names(last.node, items, through_filters=False)  # type: ignore[attr-defined]
