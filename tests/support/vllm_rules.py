"""What vLLM 0.32 builds from a chat request: messages, tools, arguments of the template, and the prompt.

The tests compare training with this. It is written from what the server does, not from `trainer.chat`, and
`scripts/dev/check_vllm_rules.py` compares it with the server itself. Covers text messages of the roles system, user,
assistant and tool, and tokenizers of transformers; knows no images, no developer role and no template of a processor.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Literal

from jinja2 import Environment, meta, nodes
from transformers.utils.chat_template_utils import _compile_jinja_template

ContentFormat = Literal["string", "openai"]
WireMessage = Mapping[str, Any]

# The server removes this line of one client from system messages, because it is different in every request.
_REMOVED_FIRST_LINE = "x-anthropic-billing-header"


def server_prompt(
    tokenizer: Any,
    wire_messages: Sequence[WireMessage],
    wire_tools: Sequence[Mapping[str, Any]] = (),
    *,
    template_kwargs: Mapping[str, Any] | None = None,
    content_format: ContentFormat | None = None,
    now: datetime | None = None,
) -> str:
    """Return the text of the prompt for the next assistant turn.

    `content_format` is what the server was started with; None means that it looks at the template. `now` is the time
    that `strftime_now` shows; None means the clock. Raises what the template raises.
    """
    # A request without tools has no key `tools`, because the server refuses an empty list.
    tools = server_tools(wire_tools) if wire_tools else None
    template = template_text(tokenizer, with_tools=tools is not None)
    form = content_format or _content_format(template)
    arguments = server_template_kwargs(template, template_kwargs or {})
    if now is not None:
        arguments["strftime_now"] = now.strftime
    return str(
        tokenizer.apply_chat_template(
            server_messages(wire_messages, form),
            tools=tools,
            chat_template=template,
            add_generation_prompt=True,
            tokenize=False,
            **arguments,
        )
    )


def server_prompt_ids(
    tokenizer: Any, wire_messages: Sequence[WireMessage], wire_tools: Sequence[Mapping[str, Any]] = (), **options: Any
) -> list[int]:
    """Return the tokens of `server_prompt`. The server adds no special tokens to those that the template writes."""
    prompt = server_prompt(tokenizer, wire_messages, wire_tools, **options)
    return list(tokenizer(prompt, add_special_tokens=False)["input_ids"])


def template_text(tokenizer: Any, *, with_tools: bool) -> str:
    """Return the template that the server takes: of several, `tool_use` if the request has tools, else `default`."""
    template = tokenizer.chat_template
    if not isinstance(template, Mapping):
        return str(template)
    return str(template["tool_use"] if with_tools and "tool_use" in template else template["default"])


def server_template_kwargs(template: str, template_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that reach the template: those that it reads, except None and "auto"."""
    read = _read_variables(template)
    fixed = {"add_generation_prompt", "continue_final_message"}
    return {
        key: value
        for key, value in template_kwargs.items()
        if key in read - fixed and value is not None and not (isinstance(value, str) and value == "auto")
    }


@cache
def _read_variables(template: str) -> frozenset[str]:
    return frozenset(meta.find_undeclared_variables(_parsed(template)))


def server_tools(wire_tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tools with the keys, order and nulls of the server's own schema."""
    tools = []
    for tool in wire_tools:
        function = tool["function"]
        shown = {key: function.get(key) for key in ("name", "description", "parameters")}
        if function.get("strict") is not None:
            shown["strict"] = function["strict"]
        tools.append({"type": "function", "function": shown})
    return tools


def server_messages(wire_messages: Sequence[WireMessage], content_format: ContentFormat) -> list[dict[str, Any]]:
    """Return messages as the template receives them."""
    return [_server_message(message, content_format) for message in wire_messages]


def _server_message(wire: WireMessage, content_format: ContentFormat) -> dict[str, Any]:
    role = wire["role"]
    if role not in ("system", "user", "assistant", "tool"):
        raise ValueError(f"role is {role!r}; the reference knows system, user, assistant and tool")
    message: dict[str, Any] = {"role": role, "content": _content(wire, content_format)}
    if role == "assistant":
        if wire.get("tool_calls"):
            message["tool_calls"] = [_server_call(call) for call in wire["tool_calls"]]
        reasoning = wire.get("reasoning")
        reasoning = wire.get("reasoning_content") if reasoning is None else reasoning
        if reasoning is not None:
            message |= {"reasoning": reasoning, "reasoning_content": reasoning}
    if role == "tool" and "tool_call_id" in wire:
        message["tool_call_id"] = wire["tool_call_id"]
    if isinstance(wire.get("name"), str):
        message["name"] = wire["name"]
    return message


def _content(wire: WireMessage, content_format: ContentFormat) -> str | list[dict[str, str]]:
    content = wire.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])
    texts = [part["text"] for part in parts]
    if wire["role"] == "system":
        texts = [text for text in map(_without_removed_line, texts) if text is not None]
    if content_format == "string":
        return "\n".join(text for text in texts if text)
    if wire["role"] == "tool":
        return "\n".join(texts)
    return [{"type": "text", "text": text} for text in texts]


def _without_removed_line(text: str) -> str | None:
    return (text.partition("\n")[2] or None) if text.startswith(_REMOVED_FIRST_LINE) else text


def _server_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call with its keys in the order of the server's schema, and decoded arguments."""
    function = {"arguments": _arguments(call["function"]["arguments"]), "name": call["function"]["name"]}
    return {"id": call["id"], "function": function, "type": call["type"]}


def _arguments(text: str) -> dict[str, Any]:
    """Return the decoded arguments. What is not a JSON object becomes an empty one."""
    try:
        decoded = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def content_format(template: str) -> ContentFormat:
    """Return "openai" if the server sees the template loop over the content of a message, else "string".

    The server sees three kinds of loops: over `message.content` itself; over a parameter of a macro that is called
    with `message.content`; and, outside macros, over a variable with the name `content`, whatever it holds. It follows
    assignments only from `messages`. If it meets a shape that it does not expect, the answer is "string".
    """
    return _content_format(template)


@cache
def _content_format(template: str) -> ContentFormat:
    root = _parsed(template)
    try:
        messages = set(_message_names(root))
        is_content = _any_attribute(messages, "content")
        found = any(_loops_over_content(root, is_content))
    except _UnexpectedShape:
        return "string"
    return "openai" if found else "string"


class _UnexpectedShape(Exception):
    """The server's own search fails here, and it falls back to "string"."""


@cache
def _parsed(template: str) -> nodes.Template:
    environment: Environment = _compile_jinja_template(template).environment
    return environment.parse(template)


def _message_names(root: nodes.Template) -> Iterator[str]:
    """Yield the loop variables that run over the messages or a part of them."""
    lists = ["messages"]
    for name in lists:
        for assignment in root.find_all(nodes.Assign):
            if _core(assignment.node) == name:
                target = _plain_name(assignment.target)
                if target not in lists:
                    lists.append(target)
    for loop in root.find_all(nodes.For):
        if _core(loop.iter) in lists:
            yield _plain_name(loop.target)


def _loops_over_content(root: nodes.Template, is_content: Callable[[nodes.Node], bool]) -> Iterator[bool]:
    inside: dict[int, set[str]] = {}
    for macro in root.find_all(nodes.Macro):
        parameters = _content_parameters(root, macro, is_content)
        for loop in macro.find_all(nodes.For):
            inside[id(loop)] = parameters or inside.get(id(loop), set())
    for loop in root.find_all(nodes.For):
        names = inside.get(id(loop), {"content"})
        if is_content(loop.iter) or (isinstance(loop.iter, nodes.Name) and loop.iter.name in names):
            _plain_name(loop.target)
            yield True


def _content_parameters(root: nodes.Template, macro: nodes.Macro, is_content: Callable[[nodes.Node], bool]) -> set[str]:
    """Return the parameters of a macro that receive the content of a message in some call."""
    parameters = [argument.name for argument in macro.args]
    found = set()
    for call in root.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == macro.name:
            found |= {name for name, value in zip(parameters, call.args, strict=False) if is_content(value)}
            found |= {given.key for given in call.kwargs if given.key in parameters and is_content(given.value)}
    return found


def _any_attribute(names: set[str], attribute: str) -> Callable[[nodes.Node], bool]:
    """Return a test for `name.attribute` or `name['attribute']`, also filtered or sliced, of any of the names."""
    wanted = {f"{name}.{attribute}" for name in names}
    return lambda node: _core(node) in wanted


def _core(node: nodes.Node | None) -> str | None:
    """Return the name or `name.attribute` that an expression filters, tests or slices; None for any other."""
    while isinstance(node, (nodes.Filter, nodes.Test)) or (
        isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)
    ):
        node = node.node
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
        return f"{node.node.name}.{node.attr}"
    if isinstance(node, nodes.Getitem) and isinstance(node.node, nodes.Name) and isinstance(node.arg, nodes.Const):
        return f"{node.node.name}.{node.arg.value}"
    return None


def _plain_name(target: nodes.Node) -> str:
    if isinstance(target, nodes.Name):
        return target.name
    raise _UnexpectedShape(type(target).__name__)
