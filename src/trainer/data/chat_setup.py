"""What the chat template says about asking a server: how calls are written, which switches are set. Loads no model."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from trainer.chat import ChatEncoder
from trainer.config import Config
from trainer.errors import FormatError, ToolSftError
from trainer.run_layout import RunLayout
from trainer.tokenizer import load_tokenizer
from trainer.tool_calls import ToolCallFormat, detect_format, formats, get_format
from trainer.tool_calls.detect import PLAIN_CALLS, PROBE_TOOLS


class ModelSide(NamedTuple):
    """How the model writes calls, the template's switches, and whether special tokens mark its calls."""

    fmt: ToolCallFormat
    template_kwargs: Mapping[str, Any]
    marks_are_special: bool


def read_model_side(cfg: Config, *, notify: Callable[[str], None]) -> ModelSide:
    """Ask the chat template: that of the configured tokenizer, or else the one in the run folder.

    Where no tokenizer can be loaded, the configuration's own words count. Raises `FormatError` where they leave the
    format open.
    """
    reasons = []
    for candidate in _candidates(cfg):
        try:
            tokenizer = load_tokenizer(candidate)
            encoder = ChatEncoder(tokenizer, template_kwargs=cfg.data.chat_template_kwargs)
        except (ToolSftError, ImportError) as error:
            reasons.append(str(error).strip().splitlines()[0])
            continue
        fmt = pick_format(cfg, encoder)
        return ModelSide(fmt, encoder.template_kwargs, marks_are_special(tokenizer, fmt))
    if cfg.eval.tool_call_format == "auto":
        raise FormatError(
            f"no tokenizer to read the tool-call format from ({'; '.join(reasons)}); set eval.tool_call_format to "
            f"one of {', '.join(formats())}"
        )
    notify(f"no tokenizer could be loaded ({reasons[0]}): the template's switches are sent as configured")
    return ModelSide(get_format(cfg.eval.tool_call_format), cfg.data.chat_template_kwargs or {}, False)


def _candidates(cfg: Config) -> list[Config]:
    """The configuration, and the same with the tokenizer that training saved."""
    saved = cfg.data.model_copy(update={"tokenizer": str(cfg.output_dir.resolve())})
    has_saved = RunLayout(cfg.output_dir).tokenizer_config.is_file()
    return [cfg, cfg.model_copy(update={"data": saved})] if has_saved else [cfg]


def marks_are_special(tokenizer: Any, fmt: ToolCallFormat) -> bool:
    """Whether a call is lost when special tokens are left out of the text, as servers do by default."""
    ids = tokenizer(fmt.render(PLAIN_CALLS), add_special_tokens=False)["input_ids"]
    calls = fmt.parse(tokenizer.decode(ids, skip_special_tokens=True), tools=PROBE_TOOLS).calls
    return [call.name for call in calls if call.status == "ok"] != [call.name for call in PLAIN_CALLS]


def pick_format(cfg: Config, encoder: ChatEncoder) -> ToolCallFormat:
    """The configured tool-call format; `auto` reads it off the chat template. Raises `FormatError`."""
    if cfg.eval.tool_call_format != "auto":
        return get_format(cfg.eval.tool_call_format)
    return detect_format(lambda messages, tools: encoder.render(messages, tools, add_generation_prompt=False))
