"""The small conversations that a template is probed with: unmistakable words in every part of a message."""

from trainer.types import Message, Tool, ToolCallJson

SYSTEM, ASK, ANSWER, REASONING = "qxsystem", "qxask", "qxanswer", "qxreason"
VALUE, OTHER_VALUE, RESULT = "qxvalue", "qxother", "qxresult"


def _tool(name: str) -> Tool:
    schema = {"type": "object", "properties": {"place": {"type": "string", "description": "qxplace"}}}
    return {"type": "function", "function": {"name": name, "description": "qxtool", "parameters": schema}}


def _call(name: str, value: str, call_id: str) -> ToolCallJson:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": {"place": value}}}


TOOLS = (_tool("qxfind"), _tool("qxbook"))
# Nine letters and digits: the only form of id that every family accepts.
FIND, BOOK = _call("qxfind", VALUE, "qxcallid1"), _call("qxbook", OTHER_VALUE, "qxcallid2")
INSTRUCT: Message = {"role": "system", "content": SYSTEM}
USER: Message = {"role": "user", "content": ASK}
TALK: Message = {"role": "assistant", "content": ANSWER}
THOUGHT: Message = {**TALK, "reasoning_content": REASONING}
CALL: Message = {"role": "assistant", "content": "", "tool_calls": [FIND]}
CALLS: Message = {"role": "assistant", "content": "", "tool_calls": [FIND, BOOK]}
CALL_WITH_TEXT: Message = {"role": "assistant", "content": ANSWER, "tool_calls": [FIND]}
FOUND: Message = {"role": "tool", "content": RESULT, "tool_call_id": "qxcallid1"}
