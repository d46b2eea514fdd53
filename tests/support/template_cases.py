"""Every chat template that the tests know, with what a person reads in it, and its tokenizers and encoders.

TRL's templates and our own one are read here; `odd_templates` has what is known about the odd ones.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from tests.support.chat import own_template, stock_template, tokenizer_for
from tests.support.odd_templates import ODD_TEMPLATES
from tests.support.odd_tokenizers import odd_tokenizer
from tests.support.slow_reference import Manual
from trainer.chat import ChatEncoder

_OFF: Mapping[str, Any] = {"enable_thinking": False}
_CHATML = Manual("<|im_end|>", "<|im_end|>")
_CHATML_OFF = Manual("<|im_end|>", "<|im_end|>", kwargs=_OFF)
_COMMAND = Manual("<|END_OF_TURN_TOKEN|>")
_DEEPSEEK = Manual("<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>")
_GEMMA = Manual("<end_of_turn>")
_GEMMA_4 = Manual("<turn|>", "<|tool_response>", kwargs=_OFF)
_GEMMA_4_CLOSED = Manual("<turn|>", "<|tool_response>", kwargs=_OFF, unwritten="<|channel>thought\n<channel|>")
_LLAMA = Manual("<|eot_id|>", "<|eot_id|>")
_LLAMA_DATED = Manual("<|eot_id|>", "<|eot_id|>", date_argument=("date_string", "%d %b %Y"))
_PHI, _VISION = Manual("<|end|>"), Manual("<end_of_utterance>")

# By the file name of TRL's template: how a person reads it.
STOCK: dict[str, Manual] = {
    "cohere": _COMMAND,
    "cohere2": _COMMAND,
    "deepseek_r1_distill": _DEEPSEEK,
    "deepseekv3": _DEEPSEEK,
    "diffusion_gemma": _GEMMA_4_CLOSED,
    "gemma": _GEMMA,
    "gemma3": _GEMMA,
    "gemma4": _GEMMA_4,
    "gemma4_v2": Manual("<turn|>", "<turn|>", kwargs=_OFF),
    "gemma4_v3": _GEMMA_4,
    "gemma4_v4": _GEMMA_4,
    "gemma4_v5": _GEMMA_4_CLOSED,
    "glm4moe": Manual("<|user|>", "<|observation|>", kwargs=_OFF, appended=True),
    "gptoss": Manual("<|return|>", "<|call|>", header="<|start|>assistant"),
    "idefics3": _VISION,
    "lfm2": _CHATML,
    "lfm2_2_5": _CHATML,
    "lfm2_2_5_v2": _CHATML,
    "lfm2_2_5_vl": _CHATML,
    "lfm2_v2": _CHATML,
    "llama3": _LLAMA,
    "llama3_1": _LLAMA_DATED,
    "llama3_2": _LLAMA_DATED,
    "llava_next": Manual("</s>"),
    "muse_glimmer": Manual("<|eot|>", "<|eot|>", date_argument=("current_date", "%Y-%m-%d")),
    "nemotron_3_5_lightning": _CHATML_OFF,
    "nemotron_3_nano": _CHATML_OFF,
    "nemotron_3_super": _CHATML_OFF,
    "nemotron_3_ultra": _CHATML_OFF,
    "phi3": _PHI,
    "phi3_5": _PHI,
    "qwen2_5": _CHATML,
    "qwen2_5_vl": _CHATML,
    "qwen3": _CHATML_OFF,
    "qwen3_5_nothink": _CHATML_OFF,
    "qwen3_5_think": _CHATML_OFF,
    "qwen3_6": _CHATML_OFF,
    "qwen3_8": _CHATML_OFF,
    "qwen3_instruct_2507": _CHATML,
    "qwen3_vl": _CHATML,
    "smolvlm": _VISION,
}
# Templates that take another template argument besides, or instead of, `enable_thinking`.
_PRESERVING = ("diffusion_gemma", "gemma4_v5", "lfm2_2_5", "lfm2_2_5_v2", "lfm2_2_5_vl", "qwen3_6", "qwen3_8")
_ON: Mapping[str, Any] = {"enable_thinking": True}


def _with(name: str, **kwargs: Any) -> tuple[str, dict[str, Any]]:
    return name, kwargs


# Case name: the template and the template arguments that are set.
ARGUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"{name}, thinking": _with(name, **_ON) for name, manual in STOCK.items() if manual.kwargs},
    **{
        f"{name}, preserving": _with(name, **(_ON if STOCK[name].kwargs else {}), preserve_thinking=True)
        for name in _PRESERVING
    },
    "nemotron_3_nano, all thinking": _with("nemotron_3_nano", enable_thinking=True, truncate_history_thinking=False),
    "llama3_2, dated": _with("llama3_2", date_string="26 Jul 2024"),
    "llama3_2, tools first": _with("llama3_2", tools_in_user_message=False),
    "muse_glimmer, dated": _with("muse_glimmer", current_date="2026-01-01"),
    "gptoss, high effort": _with("gptoss", reasoning_effort="high"),
    "qwen3_8, low effort": _with("qwen3_8", reasoning_effort="low"),
}
OWN = "own"
STOCK_CASES = (OWN, *STOCK, *ARGUMENTS)
ODD_CASES = tuple(ODD_TEMPLATES)


class Case(NamedTuple):
    """A template with a tokenizer. `template_kwargs` are those that a user sets, or None."""

    tokenizer: Any
    manual: Manual
    template_kwargs: Mapping[str, Any] | None


@cache
def case_of(name: str, kind: str) -> Case:
    """Return a case of `STOCK_CASES` or `ODD_CASES` with a kind of tokenizer."""
    if name in ODD_TEMPLATES:
        odd: Any = ODD_TEMPLATES[name]
        manual = Manual(
            odd.stop_text,
            odd.stop_call,
            kwargs=odd.kwargs,
            appended=name == "next_role_ends",
            date_argument=("date_string", "%d %b %Y") if name == "date_string_constant" else None,
        )
        return Case(odd_tokenizer(odd, kind), manual, odd.kwargs or None)  # type: ignore[arg-type]
    template, kwargs = ARGUMENTS.get(name, (name, None))
    tokenizer: Any = tokenizer_for(own_template() if template == OWN else stock_template(template), kind)
    if template == OWN:
        return Case(tokenizer, Manual(tokenizer.eos_token, tokenizer.eos_token), None)
    read = STOCK[template]
    return Case(tokenizer, read if kwargs is None else read.with_kwargs(kwargs), kwargs)


@cache
def encoder_of(name: str, kind: str) -> ChatEncoder:
    """Return the encoder of a case. It names no remedies, since their search takes longer than all the rest."""
    case = case_of(name, kind)
    return ChatEncoder(case.tokenizer, template_kwargs=case.template_kwargs, names_remedies=False)
