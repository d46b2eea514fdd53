"""What a chat template's source says about itself: its syntax tree, and the switches that it takes."""

from collections.abc import Iterator
from typing import Any

from jinja2 import nodes

from trainer.chat.render import Tokenizer

# What `apply_chat_template` and Jinja always define; whatever else a template reads is a switch.
GIVEN = {"messages", "tools", "documents", "add_generation_prompt", "raise_exception", "strftime_now"}
GIVEN |= {"range", "namespace", "dict", "lipsum", "cycler", "joiner", "loop", "caller", "self"}
GIVEN |= {"varargs", "kwargs"}


class TemplateSource:
    """The source of a tokenizer's chat template, parsed the way it will be rendered.

    Raises:
        ValueError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.text = str(tokenizer.get_chat_template(None, tools=[{}]))
        self.tree = parse(self.text)
        self.switches = tuple(sorted(set(_free_names(self.tree)) | set(_defaulted_names(self.tree))))
        # Some tokenizers keep one template for conversations with tools and another for those without.
        self.is_only = str(tokenizer.get_chat_template(None, tools=None)) == self.text

    @property
    def mentions_clock(self) -> bool:
        """Whether the source names the function that gives the current date."""
        return "strftime_now" in self.text


def compiled(text: str) -> Any:
    """The compiled template, as transformers compiles it (and keeps it in a cache)."""
    # The environment has tags and filters of its own; transformers offers no public way to it.
    from transformers.utils.chat_template_utils import _compile_jinja_template

    return _compile_jinja_template(text)


def parse(text: str) -> nodes.Template:
    """The syntax tree of a template's source."""
    tree: nodes.Template = compiled(text).environment.parse(text)
    return tree


def _free_names(tree: nodes.Template) -> Iterator[str]:
    """Names that the template reads and never gives a value."""
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    own |= {node.name for node in tree.find_all(nodes.Macro)}
    for node in tree.find_all(nodes.Name):
        if node.name not in own and not _is_given(node.name):
            yield node.name


def _defaulted_names(tree: nodes.Template) -> Iterator[str]:
    """Names that the template gives a value only where the caller has not."""
    for assign in tree.find_all(nodes.Assign):
        if isinstance(assign.target, nodes.Name) and assign.target.name in _tested(assign.node):
            yield assign.target.name
    for branch in tree.find_all(nodes.If):
        tested = _tested(branch.test)
        for assign in branch.find_all(nodes.Assign):
            if isinstance(assign.target, nodes.Name) and assign.target.name in tested:
                yield assign.target.name


def _tested(expression: nodes.Node) -> set[str]:
    """Names that an expression tests for being defined."""
    wrapped = nodes.Output([expression])
    tests = [*wrapped.find_all(nodes.Test), *wrapped.find_all(nodes.Filter)]
    asked = [test.node for test in tests if test.name in ("defined", "undefined", "default")]
    return {node.name for node in asked if isinstance(node, nodes.Name) and not _is_given(node.name)}


def _is_given(name: str) -> bool:
    return name in GIVEN or name.endswith("_token")
