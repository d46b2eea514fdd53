"""Tools: read their files, walk their schemas, judge calls, compare values, write tools as servers do."""

from trainer.tools.equality import equal
from trainer.tools.files import read_tools
from trainer.tools.schema import SchemaNode
from trainer.tools.validation import ToolSpecs
from trainer.tools.wire import rendered_tool

__all__ = ["SchemaNode", "ToolSpecs", "equal", "read_tools", "rendered_tool"]
