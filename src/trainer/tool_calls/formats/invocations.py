"""Formats that write each argument as an element.

Qwen3-Coder and Qwen3.5, MiMo, Seed-OSS, MiniMax M2, dots, Muse Glimmer, DeepSeek V3.2 and later (DSML), Step 3, and
GLM 4.5.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from trainer.tool_calls.base import ToolCallFormat
from trainer.tool_calls.formats.blocks import Block
from trainer.tool_calls.formats.elements import Elements, scan_elements, write_elements
from trainer.types import Call

# Possessive quantifiers (`*+`): backtracking over malicious white space would take quadratic time.
_NAME = r"""(?:"([^"\n]*+)"|'([^'\n]*+)')"""


def _invoke(block: Block, *, mark: str = "", typed: bool = False) -> Elements:
    """Return the grammar of `<invoke name="f"><parameter name="a">…`. `mark` is in front of the element names."""
    kind = r'(?:\s++string="(true|false)")?+' if typed else "()"
    is_string = ' string="{is_string}"' if typed else ""
    return Elements(
        opening=(f"<{mark}invoke ",),
        inside=(f"<{mark}parameter ",),
        head=re.compile(rf"<{mark}invoke\s*+name={_NAME}\s*+>"),
        parameter=re.compile(rf"<{mark}parameter\s++name={_NAME}{kind}\s*+>"),
        value_close=f"</{mark}parameter>",
        call_close=f"</{mark}invoke>",
        before=f'<{mark}invoke name="{{name}}">\n',
        each=f'<{mark}parameter name="{{key}}"{is_string}>{{value}}</{mark}parameter>\n',
        after=f"</{mark}invoke>",
        block=block,
    )


_MINIMAX = _invoke(Block(("<minimax:tool_call>",), "</minimax:tool_call>"))
_MUSE = _invoke(Block(("<atem:function_calls>",), "</atem:function_calls>"), mark="atem:")
# The header of a message for a tool.
_MUSE_HEADER = re.compile(r"(?:<\|eom\|><\|start\|>assistant)?(?:(?<!\s)\s*+\bto=)?(?<![\w.\-])[\w.\-]*+<\|message\|>")
_DOTS = _invoke(Block(("<dots_function_call>",), "</dots_function_call>"))
_V32 = _invoke(Block(("<｜DSML｜function_calls>",), "</｜DSML｜function_calls>"), mark="｜DSML｜", typed=True)
_V4_OPENINGS = ("<｜DSML｜tool_calls>", "<｜DSML｜toolcalls>", "<｜DSML｜tool>")
_V4 = _invoke(Block(_V4_OPENINGS, "</｜DSML｜tool_calls>"), mark="｜DSML｜", typed=True)
_V41 = _invoke(Block(("<｜DSML｜ calls>",), "</｜DSML｜ calls>"), mark="｜DSML｜ ", typed=True)


def _functions(tag: str, *, padded: bool, each: str = "<parameter={key}>{value}</parameter>\n") -> Elements:
    """Return the grammar of `<function=f><parameter=a>…` between the tags called `tag`. `each` is an argument."""
    return Elements(
        opening=(f"<{tag}>", "<function="),
        inside=("<parameter=",),
        head=re.compile(rf"(?:<{tag}>\s*+)?<function=([^>\n]*+)()>"),
        parameter=re.compile(r"<parameter=([^>\n]*+)()()>"),
        value_close="</parameter>",
        call_close="</function>",
        before=f"<{tag}>\n<function={{name}}>\n",
        each=each,
        after=f"</function>\n</{tag}>",
        tail=f"</{tag}>",
        padded=padded,
    )


_SEED = _functions("seed:tool_call", padded=True)
_MIMO = _functions("tool_call", padded=False)
_QWEN = _functions("tool_call", padded=True, each="<parameter={key}>\n{value}\n</parameter>\n")
_GLM = Elements(
    opening=("<tool_call>",),
    inside=("<arg_key>",),
    head=re.compile(r"<tool_call>\s*+([^\s<{\[]++)()"),
    parameter=re.compile(r"<arg_key>([^<\n]*+)()()</arg_key>\s*+<arg_value>"),
    value_close="</arg_value>",
    call_close="</tool_call>",
    before="<tool_call>{name}\n",
    each="<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n",
    after="</tool_call>",
)
_STEP3 = Elements(
    opening=("<｜tool_call_begin｜>",),
    inside=("<｜tool_sep｜>", "<steptml:invoke ", "<steptml:parameter "),
    head=re.compile(rf"<｜tool_call_begin｜>\s*+function\s*+<｜tool_sep｜>\s*+<steptml:invoke\s++name={_NAME}\s*+>"),
    parameter=re.compile(rf"<steptml:parameter\s++name={_NAME}()\s*+>"),
    value_close="</steptml:parameter>",
    call_close="</steptml:invoke>",
    before='<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name="{name}">',
    each='<steptml:parameter name="{key}">{value}</steptml:parameter>',
    after="</steptml:invoke><｜tool_call_end｜>",
    tail="<｜tool_call_end｜>",
    block=Block(("<｜tool_calls_begin｜>",), "<｜tool_calls_end｜>"),
)


def _format(name: str, grammar: Elements, write: Callable[[Sequence[Call]], str] | None = None) -> ToolCallFormat:
    return ToolCallFormat(
        name,
        name,
        partial(scan_elements, grammar=grammar),
        write or partial(write_elements, grammar=grammar),
        wrappers=grammar.block.markers,
        needs_schema="is_string" not in grammar.each,
    )


MINIMAX_M2 = _format("minimax_m2", _MINIMAX)
DOTS = _format("dots", _DOTS)
DEEPSEEK_V32 = _format("deepseek_v32", _V32)
DEEPSEEK_V4 = _format("deepseek_v4", _V4)
DEEPSEEK_V41 = _format("deepseek_v41", _V41)
SEED_OSS = _format("seed_oss", _SEED)
MIMO = _format("mimo", _MIMO)
QWEN3_XML = _format("qwen3_xml", _QWEN)
GLM45 = _format("glm45", _GLM)
MUSE_GLIMMER = replace(_format("muse_glimmer", _MUSE), header=_MUSE_HEADER)
STEP3 = _format("step3", _STEP3, partial(write_elements, grammar=_STEP3, between="", around=""))
