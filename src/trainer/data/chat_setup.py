"""Make the tokenizer, the chat encoder and the tool-call format of a run, once for all users. Loads no model."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trainer.chat import ChatEncoder
from trainer.config import Config
from trainer.config.domain_package import import_domain
from trainer.errors import ConfigError, FormatError, ToolSftError
from trainer.model_source import eos_token_ids
from trainer.run_layout import RunLayout
from trainer.tokenizer import load_tokenizer
from trainer.tool_calls import ToolCallFormat, aliases, detect_format, formats, get_format
from trainer.tool_calls.detect import PLAIN_CALLS, PROBE_TOOLS
from trainer.util.clock import DateArgument

if TYPE_CHECKING:  # transformers imports torch if it is installed
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


class RequestSetup(NamedTuple):
    """What requests to a server depend on: the tool-call format, the template arguments, whether special tokens mark
    the calls (the server must then not strip them), and the template argument that takes the day, if there is one."""

    fmt: ToolCallFormat
    template_kwargs: Mapping[str, Any]
    keep_special_tokens: bool
    date_argument: DateArgument | None = None


class LoadedEncoder(NamedTuple):
    """A tokenizer, and the encoder of its probed chat template."""

    tokenizer: "PreTrainedTokenizerBase"
    encoder: ChatEncoder


@dataclass(frozen=True)
class ChatSetup:
    """How a run turns conversations into tokens, and text back into calls.

    `encoder` holds the probed chat template of `tokenizer`; `fmt` is how the model writes calls.
    """

    tokenizer: "PreTrainedTokenizerBase"
    encoder: ChatEncoder
    fmt: ToolCallFormat

    @cached_property
    def marks_are_special(self) -> bool:
        """Whether a call is lost when a server leaves special tokens out of the text, as servers do by default."""
        ids = self.tokenizer(self.fmt.render(PLAIN_CALLS), add_special_tokens=False)["input_ids"]
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        assert isinstance(text, str)
        calls = self.fmt.parse(text, tools=PROBE_TOOLS).calls
        return [call.name for call in calls if call.status == "ok"] != [call.name for call in PLAIN_CALLS]

    def requests(self) -> RequestSetup:
        """Return what requests to a server of this model need."""
        encoder = self.encoder
        return RequestSetup(self.fmt, encoder.template_kwargs, self.marks_are_special, encoder.date_argument)


def make_chat_setup(cfg: Config, *, folder: Path | None = None) -> ChatSetup:
    """Load the tokenizer, probe its chat template and choose the tool-call format.

    With `folder` (a run or a merged model), the tokenizer and its template come from there, not from the
    configuration. Raises `ModelError`, `TemplateError`, `FormatError`.
    """
    loaded = load_encoder(cfg, folder=folder)
    return ChatSetup(*loaded, pick_format(cfg, loaded.encoder))


def load_encoder(cfg: Config, *, folder: Path | None = None) -> LoadedEncoder:
    """Load the tokenizer and probe its chat template. Raises `ModelError`, `TemplateError`."""
    tokenizer = load_tokenizer(cfg, folder=folder)
    encoder = ChatEncoder(tokenizer, template_kwargs=cfg.data.chat_template_kwargs, eos_token_ids=eos_token_ids(cfg))
    return LoadedEncoder(tokenizer, encoder)


def pick_format(cfg: Config, encoder: ChatEncoder) -> ToolCallFormat:
    """Return the configured tool-call format; `auto` detects it from the chat template. Raises `FormatError`.

    The domain's package is imported first if the name is not one of this package's, because it may register formats.
    """
    named = _named_format(cfg)
    if named is not None:
        return named
    return detect_format(lambda messages, tools: encoder.render(messages, tools, add_generation_prompt=False))


def _named_format(cfg: Config) -> ToolCallFormat | None:
    """Return the format that the configuration names, or None for `auto`."""
    name = cfg.eval.tool_call_format
    if name in (*formats(), *aliases()):
        return get_format(name)
    try:
        import_domain(cfg)
    except (ConfigError, ImportError) as error:  # a server may run without the domain
        if name != "auto":
            raise FormatError(
                f'unknown tool-call format "{name}", and its domain cannot be imported: {error}'
            ) from error
        logger.info("the domain cannot be imported, so only this package's tool-call formats are known: %s", error)
    return None if name == "auto" else get_format(name)


def make_request_setup(cfg: Config) -> RequestSetup:
    """Return what requests need, from the configured tokenizer or else from the one that training saved.

    If neither can be loaded, the configuration decides. Raises `FormatError` if it does not name the format.
    """
    reasons = []
    saved = RunLayout(cfg.output_dir.resolve())
    for folder in (None, saved.path) if saved.tokenizer_config.is_file() else (None,):
        try:
            loaded = load_encoder(cfg, folder=folder)
        except (ToolSftError, ImportError) as error:
            reasons.append(str(error).strip().splitlines()[0])
            continue
        return ChatSetup(*loaded, pick_format(cfg, loaded.encoder)).requests()
    named = _named_format(cfg)
    if named is None:
        raise FormatError(
            f"no tokenizer to detect the tool-call format from ({'; '.join(reasons)}); set eval.tool_call_format to "
            f"one of {', '.join(formats())}"
        )
    logger.warning("no tokenizer could be loaded (%s): template arguments are sent as configured", reasons[0])
    return RequestSetup(named, cfg.data.chat_template_kwargs or {}, False)
