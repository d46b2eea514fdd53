"""What a chat template's source says about itself: the switches that it takes, and whether it reads the clock."""

from collections.abc import Iterator
from typing import Any

from jinja2 import nodes

from trainer.chat.render import Renderer, RenderError, Tokenizer

# What `apply_chat_template` always defines; everything else that a template reads is a switch.
GIVEN = {"messages", "tools", "documents", "add_generation_prompt", "raise_exception", "strftime_now"}
BUILTINS = {
    "range",
    "namespace",
    "dict",
    "lipsum",
    "cycler",
    "joiner",
    "loop",
    "caller",
    "self",
    "varargs",
    "kwargs",
}


class TemplateSource:
    """The source text of a tokenizer's chat template, parsed the way it will be rendered."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.text = str(tokenizer.get_chat_template(None, tools=[{}]))
        self.tree = _parse(self.text)
        self.switches = tuple(sorted(set(self._switches())))

    def _switches(self) -> Iterator[str]:
        """Names that are read but never given a value first, and names that are tested for being defined."""
        own = {node.name for node in self.tree.find_all(nodes.Name) if node.ctx in ("store", "param")}
        own |= {node.name for node in self.tree.find_all(nodes.Macro)}
        for node in self.tree.find_all(nodes.Name):
            if node.ctx == "load" and node.name not in own and not _is_given(node.name):
                yield node.name
        for test in (*self.tree.find_all(nodes.Test), *self.tree.find_all(nodes.Filter)):
            tested = isinstance(test.node, nodes.Name) and test.name in ("defined", "undefined", "default")
            if tested and not _is_given(test.node.name):  # type: ignore[union-attr]
                yield test.node.name  # type: ignore[union-attr]

    def reads_clock(self, renderer: Renderer) -> bool:
        """Whether a rendering asks for the current date with these switches set."""
        if "strftime_now" not in self.text:
            return False
        asked: list[str] = []
        watched = Renderer(
            renderer.tokenizer, {**renderer.switches, "strftime_now": asked.append}, renderer.form
        )
        try:
            watched([{"role": "user", "content": "x"}], (), add_generation_prompt=True)
        except RenderError:
            pass
        return bool(asked)


def _is_given(name: str) -> bool:
    return name in GIVEN or name in BUILTINS or name.endswith("_token")


def _parse(text: str) -> nodes.Template:
    # Templates use a tag of their own, which only this environment of transformers knows.
    from transformers.utils.chat_template_utils import _compile_jinja_template

    template: Any = _compile_jinja_template(text)
    tree: nodes.Template = template.environment.parse(text)
    return tree
