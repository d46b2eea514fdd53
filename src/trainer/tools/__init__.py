"""Tools: walk a parameter schema, check calls against it, compare values, write tools as servers do."""

from trainer.tools.equality import equal
from trainer.tools.schema import SchemaNode
from trainer.tools.validation import ToolSpecs
from trainer.tools.wire import rendered_tool

__all__ = ["SchemaNode", "ToolSpecs", "equal", "rendered_tool"]
