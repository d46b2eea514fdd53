"""Read a chat template's source: its syntax tree, and the keyword arguments that it takes."""

from collections.abc import Iterator

from jinja2 import nodes

# Names that `apply_chat_template` and Jinja always define. Any other name that a template reads is an argument.
GIVEN = {"messages", "tools", "documents", "add_generation_prompt", "raise_exception", "strftime_now"}
GIVEN |= {"range", "namespace", "dict", "lipsum", "cycler", "joiner", "loop", "caller", "self"}
GIVEN |= {"varargs", "kwargs"}


class TemplateSource:
    """The source of a chat template, parsed as `transformers` parses it.

    `template_kwargs` are the names of the keyword arguments that it takes.

    Raises:
        jinja2.TemplateSyntaxError: the source is not a template.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = parse(text)
        self.template_kwargs = tuple(sorted(set(_free_names(self.tree)) | set(_defaulted_names(self.tree))))


def parse(text: str) -> nodes.Template:
    """Return the syntax tree of a template's source."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    tree: nodes.Template = _compile_jinja_template(text).environment.parse(text)
    return tree


def _free_names(tree: nodes.Template) -> Iterator[str]:
    """Yield the names that the template reads but never assigns."""
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    own |= {node.name for node in tree.find_all(nodes.Macro)}
    for node in tree.find_all(nodes.Name):
        if node.name not in own and not _is_given(node.name):
            yield node.name


def _defaulted_names(tree: nodes.Template) -> Iterator[str]:
    """Yield the names that the template assigns only if the caller has not set them."""
    for assign in tree.find_all(nodes.Assign):
        if isinstance(assign.target, nodes.Name) and assign.target.name in _tested(assign.node):
            yield assign.target.name
    for branch in tree.find_all(nodes.If):
        tested = _tested(branch.test)
        for assign in branch.find_all(nodes.Assign):
            if isinstance(assign.target, nodes.Name) and assign.target.name in tested:
                yield assign.target.name


def _tested(expression: nodes.Node) -> set[str]:
    """Return the names that an expression tests for being defined."""
    wrapped = nodes.Output([expression])
    tests = [*wrapped.find_all(nodes.Test), *wrapped.find_all(nodes.Filter)]
    tested = [test.node for test in tests if test.name in ("defined", "undefined", "default")]
    return {node.name for node in tested if isinstance(node, nodes.Name) and not _is_given(node.name)}


def _is_given(name: str) -> bool:
    return name in GIVEN or name.endswith("_token")
