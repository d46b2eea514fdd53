"""Read a tool file, and refuse it with everything that is wrong with it. Judges no call."""

import logging
from functools import cache
from pathlib import Path
from typing import Any

from trainer.errors import DataError
from trainer.tools.forms import read_tool
from trainer.tools.validation import ToolProblem, check_tools, refuse
from trainer.tools.wire import rendered_tool
from trainer.types import Tool
from trainer.values.json_reader import load_json

logger = logging.getLogger(__name__)


def read_tools(path: str | Path, *, unique_names: bool = True) -> tuple[Tool, ...]:
    """The tools of a JSON file, as servers render them to the model.

    The file holds a list of tools in OpenAI form, bare functions, or tools of Anthropic, MCP or xLAM; or the result of
    MCP's `tools/list`. Keys that no server shows are left out, with a warning. Without `unique_names`, several tools
    may have one name, as in the file beside the predictions of sessions that have tools of their own. Raises
    `DataError`, which lists every problem with the position and the name of its tool.
    """
    tools: list[tuple[int, Tool]] = []
    problems: list[ToolProblem] = []
    for position, raw in enumerate(_read_list(path), start=1):
        where = f"tool {position}"
        try:
            rendered = rendered_tool(read_tool(raw, where, [], from_text=True), where=where)
        except DataError as error:
            problems.append(ToolProblem(position, str(error)))
            continue
        tools.append((position, rendered.tool))
        if rendered.dropped:
            keys, name = ", ".join(rendered.dropped), rendered.tool["function"]["name"]
            _warn_once(f"{path}: {where} ({name}): no server shows {keys} to the model; left out")
    problems += check_tools(tools, unique_names=unique_names)[1]
    refuse(problems, where=str(path))
    return tuple(tool for _, tool in tools)


def _read_list(path: str | Path) -> list[Any]:
    try:
        tools = load_json(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: tool schemas cannot be read: {error.strerror}; see data.tools_path") from error
    except ValueError as error:
        remedy = "save the file as UTF-8" if isinstance(error, UnicodeDecodeError) else "correct the file"
        raise DataError(f"{path}: tool schemas are not valid JSON: {error}; {remedy}") from error
    except RecursionError:
        raise DataError(f"{path}: tool schemas are nested too deeply; make them flatter") from None
    if isinstance(tools, dict):
        tools = _mcp_list(tools, path)
    if not isinstance(tools, list) or not tools:
        raise DataError(f"{path}: must hold a non-empty list of tools, e.g. in OpenAI form, or MCP's tools/list result")
    return tools


def _mcp_list(answer: dict[str, Any], path: str | Path) -> Any:
    """The tools of MCP's `tools/list` result, with or without its JSON-RPC envelope."""
    result = answer.get("result") if isinstance(answer.get("result"), dict) else answer
    assert isinstance(result, dict)
    if result.get("nextCursor"):
        raise DataError(f"{path}: the list of tools continues after nextCursor; fetch all pages and join their tools")
    return result.get("tools")


@cache
def _warn_once(line: str) -> None:
    """A run reads the same file several times."""
    logger.warning("%s", line)
