"""Plan what a server needs to know about a run: weights, names, template, stop tokens, precision. Starts no server."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from transformers import PretrainedConfig

from trainer.calibration.record import request_bias
from trainer.data.chat_setup import ChatSetup, make_chat_setup
from trainer.errors import ModelError
from trainer.generation.settings import own_stop_tokens
from trainer.lora_model import pick_dtype
from trainer.run_layout import MERGE_REPORT, MODEL_CONFIG, RunLayout
from trainer.serving.reasoning import ReasoningTurns, reasoning_parser, reasoning_turns, writes_empty_block
from trainer.training.finished_run import FinishedRun
from trainer.vllm_flags import parser_name

GPT_OSS = "gpt_oss"
"""The model type for which vLLM uses no chat template."""

_DEEPSEEK = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>")
_NEEDED_TOKENS = {
    "llama3_json": ("<|python_tag|>",),
    "mistral": ("[TOOL_CALLS]",),
    "deepseek_v3": _DEEPSEEK,
    "deepseek_v31": _DEEPSEEK,
    "lfm2": ("<|tool_call_start|>", "<|tool_call_end|>"),
}
"""The tokens without which vLLM 0.32 does not start with a tool-call parser, even if the format does without them."""


@dataclass(frozen=True, slots=True)
class ServePlan:
    """Everything that a server needs to know about a run.

    `model` is the folder or hub id of the weights, `revision` their commit on the hub; `adapter` is the run folder, or
    None for a merged model. `model_type` is that of its configuration, None if it cannot be read. `chat` builds prompts
    as in training; `reasoning` counts the trained turns. `names` are the model names for clients: the adapter (or the
    merged model) first, then the base model. `with_vllm_parser`: vLLM's own tool-call parser was chosen. `logit_bias`
    is the bias that requests to the first name should carry, if the run has one.
    """

    model: str
    revision: str | None
    model_type: str | None
    adapter: Path | None
    names: tuple[str, ...]
    files: Path
    rank: int
    chat: ChatSetup
    reasoning: ReasoningTurns
    max_context_tokens: int
    dtype: str
    trust_remote_code: bool
    quantization: str | None
    stop_token_ids: tuple[int, ...]
    with_vllm_parser: bool = False
    logit_bias: Mapping[str, float] | None = None

    @property
    def has_several_templates(self) -> bool:
        """Whether the tokenizer has named templates: one for requests with tools, and one for the others."""
        return isinstance(self.chat.tokenizer.chat_template, dict)

    @property
    def uses_plugin(self) -> bool:
        """Whether vLLM reads the calls with this project's readers. For gpt_oss, it accepts only its own parser."""
        return not self.with_vllm_parser and self.model_type != GPT_OSS

    @property
    def call_parser(self) -> str | None:
        """The tool-call parser for vLLM; None if its own was chosen, and it has none or refuses the tokenizer."""
        if self.uses_plugin:
            return parser_name(self.chat.fmt.name)
        return None if self._missing_tokens() else self.chat.fmt.vllm_parser

    @property
    def writes_reasoning(self) -> bool:
        """Whether the model was trained to write reasoning."""
        return self.reasoning.n_reasoning > 0 and self.chat.encoder.profile.reasoning_markers is not None

    @property
    def reasoning_parser(self) -> str | None:
        """vLLM's reasoning parser for the answers of this model; None if they have none, or if no parser is safe."""
        encoder = self.chat.encoder
        markers = encoder.profile.reasoning_markers
        if markers is None or not self.writes_reasoning:
            return None
        return reasoning_parser(
            markers,
            encoder.profile.header.prompt,
            every_answer=self.reasoning.every_turn or writes_empty_block(encoder, markers),
            # The readers of a format work with the same reasoning parsers as vLLM's own parser of it.
            call_parser=self.chat.fmt.vllm_parser if self.uses_plugin else self.call_parser,
        )

    def _missing_tokens(self) -> list[str]:
        """Return the tokens that vLLM's tool-call parser needs and the tokenizer lacks."""
        needed = _NEEDED_TOKENS.get(self.chat.fmt.vllm_parser or "", ())
        vocabulary = self.chat.tokenizer.get_vocab() if needed else {}
        return [token for token in needed if token not in vocabulary]

    def notes(self) -> list[str]:
        """Return what the user should know about this plan."""
        notes = []
        if self.model_type == GPT_OSS:
            notes.append(
                "vLLM builds the prompts of gpt_oss models with the harmony library, not with the run's chat template, "
                "and writes today's date into them (VLLM_SYSTEM_START_DATE=YYYY-MM-DD sets another one); compare the "
                "prompts with tool-sft parity"
            )
        elif self.writes_reasoning and self.reasoning_parser is None:
            where = (
                "left out of the answers" if self._drops_reasoning() else "served in message.content, before the answer"
            )
            notes.append(
                f"{self.reasoning.n_reasoning} of {self.reasoning.n_trained} trained turns have reasoning, and vLLM "
                "has no parser that reads it and leaves an answer without reasoning in message.content; so the "
                f"reasoning is {where}"
            )
        notes += [] if self.uses_plugin else self._parser_notes()
        if self.logit_bias:
            notes.append(
                f'requests to {self.names[0]} should carry "logit_bias": {json.dumps(dict(self.logit_bias))}, the bias '
                "on calls with which the run was evaluated; tool-sft eval, chat and bench send it"
            )
        if self.quantization is not None:
            notes.append(
                "vLLM 0.32 comes without bitsandbytes quantization; if it refuses the flag and no plugin adds it, "
                "use --engine transformers"
            )
        return notes

    def _drops_reasoning(self) -> bool:
        """Whether the reader of the calls knows the reasoning of this model, and returns only what follows it."""
        begin, end = self.chat.encoder.profile.reasoning_markers or ("", "")
        return self.uses_plugin and self.chat.fmt.parse(f"{begin}why{end}Hello").content == "Hello"

    def _parser_notes(self) -> list[str]:
        """Return what vLLM's own parser does not do."""
        fmt = self.chat.fmt
        if fmt.vllm_parser is None:
            return [
                f"vLLM has no parser for the tool-call format {fmt.name}; calls stay as text in message.content, where "
                "tool-sft eval reads them"
            ]
        if missing := self._missing_tokens():
            return [
                f"vLLM's tool-call parser {fmt.vllm_parser} needs tokens that this tokenizer does not have: "
                f"{', '.join(missing)}; so it is not used, and calls stay as text in message.content"
            ]
        return []


def plan_serving(
    run: FinishedRun, *, name: str | None = None, merged: Path | None = None, with_vllm_parser: bool = False
) -> ServePlan:
    """Return how to serve a run: base model and adapter, or the model that `tool-sft merge` wrote to `merged`.

    `with_vllm_parser` chooses vLLM's own tool-call parser; the default is this project's reader of the format.
    Raises `ModelError` if `merged` contains no model, or if two models would have the same name.
    """
    if merged is not None and not (merged / MODEL_CONFIG).is_file():
        raise ModelError(f"{merged}: not a merged model (it has no {MODEL_CONFIG}); make one with tool-sft merge")
    cfg = run.cfg
    files = run.path if merged is None else merged
    chat = make_chat_setup(cfg, folder=files)
    adapter_name = name or run.name
    if merged is None and adapter_name == run.base_name:
        raise ModelError(f"the adapter cannot have the same name as its base model, {adapter_name}; use --name")
    place = run.base_place() if merged is None else None
    model = str(merged) if place is None else place.name
    revision = None if place is None else place.source.commit
    own_stops = own_stop_tokens(model, revision=revision, trust_remote_code=cfg.model.trust_remote_code)
    return ServePlan(
        model=model,
        revision=revision,
        model_type=_model_type(model, revision),
        adapter=run.path if merged is None else None,
        names=(adapter_name, run.base_name) if merged is None else (adapter_name,),
        files=files,
        rank=run.rank,
        chat=chat,
        reasoning=reasoning_turns(RunLayout(run.path).metrics),
        max_context_tokens=cfg.data.max_context_length,
        dtype=_merged_dtype(merged) or str(pick_dtype(cfg.model.torch_dtype)).removeprefix("torch."),
        trust_remote_code=cfg.model.trust_remote_code,
        quantization=cfg.model.quantization if merged is None else None,
        stop_token_ids=tuple(sorted({*chat.encoder.stop_token_ids, *own_stops})),
        with_vllm_parser=with_vllm_parser,
        logit_bias=request_bias(run.path, model=adapter_name, base=run.base_name),
    )


def _model_type(model: str, revision: str | None) -> str | None:
    """Return the model type in the configuration of a folder or hub repository; None if it cannot be read."""
    try:
        content, _ = PretrainedConfig.get_config_dict(model, revision=revision or "main")
    except (OSError, ValueError):
        return None
    found = content.get("model_type")
    return found if isinstance(found, str) else None


def _merged_dtype(merged: Path | None) -> str | None:
    """Return the stored precision of a merged model from its own files."""
    if merged is None:
        return None
    for name in (MERGE_REPORT, MODEL_CONFIG):
        try:
            content = json.loads((merged / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        dtype = (content.get("dtype") or content.get("torch_dtype")) if isinstance(content, dict) else None
        if isinstance(dtype, str):
            return dtype.removeprefix("torch.")
    return None
