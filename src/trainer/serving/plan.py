"""Plan what a server needs to know about a run: weights, names, template, stop tokens, precision. Starts no server."""

import json
from dataclasses import dataclass
from pathlib import Path

from trainer.data.chat_setup import ChatSetup, make_chat_setup
from trainer.errors import ModelError
from trainer.generation.settings import own_stop_tokens
from trainer.lora_model import pick_dtype
from trainer.model_source import base_model_place
from trainer.run_layout import MERGE_REPORT, MODEL_CONFIG
from trainer.training.finished_run import FinishedRun


@dataclass(frozen=True, slots=True)
class ServePlan:
    """Everything that a server needs to know about a run.

    `model` is the folder or hub id of the weights, `revision` their commit on the hub; `adapter` is the run folder, or
    None for a merged model. `chat` builds prompts as in training. `names` are the model names for clients: the adapter
    (or the merged model) first, then the base model.
    """

    model: str
    revision: str | None
    adapter: Path | None
    names: tuple[str, ...]
    files: Path
    rank: int
    chat: ChatSetup
    max_context_tokens: int
    dtype: str
    trust_remote_code: bool
    quantization: str | None
    stop_token_ids: tuple[int, ...]

    def notes(self) -> list[str]:
        """Return what the user should know about this plan."""
        notes = []
        if self.chat.fmt.vllm_parser is None:
            notes.append(
                f"vLLM has no parser for the tool-call format {self.chat.fmt.name}; calls stay as text in "
                "message.content, where tool-sft eval reads them"
            )
        if self.quantization is not None:
            notes.append(
                "vLLM 0.32 comes without bitsandbytes quantization; if it refuses the flag and no plugin adds it, "
                "use --engine transformers"
            )
        return notes


def plan_serving(run: FinishedRun, *, name: str | None = None, merged: Path | None = None) -> ServePlan:
    """Return how to serve a run: base model and adapter, or the model that `tool-sft merge` wrote to `merged`.

    Raises `ModelError` if `merged` contains no model, or if two models would have the same name.
    """
    if merged is not None and not (merged / MODEL_CONFIG).is_file():
        raise ModelError(f"{merged}: not a merged model (it has no {MODEL_CONFIG}); make one with tool-sft merge")
    cfg = run.cfg
    files = run.path if merged is None else merged
    chat = make_chat_setup(cfg, folder=files)
    adapter_name = name or run.name
    if merged is None and adapter_name == cfg.model.base_model_name:
        raise ModelError(f"the adapter cannot have the same name as its base model, {adapter_name}; use --name")
    place = base_model_place(cfg) if merged is None else None
    model = str(merged) if place is None else place.name
    revision = None if place is None else place.source.commit
    own_stops = own_stop_tokens(model, revision=revision, trust_remote_code=cfg.model.trust_remote_code)
    return ServePlan(
        model=model,
        revision=revision,
        adapter=run.path if merged is None else None,
        names=(adapter_name, cfg.model.base_model_name) if merged is None else (adapter_name,),
        files=files,
        rank=run.rank,
        chat=chat,
        max_context_tokens=cfg.data.max_context_length,
        dtype=_merged_dtype(merged) or str(pick_dtype(cfg.model.torch_dtype)).removeprefix("torch."),
        trust_remote_code=cfg.model.trust_remote_code,
        quantization=cfg.model.quantization if merged is None else None,
        stop_token_ids=tuple(sorted({*chat.encoder.stop_token_ids, *own_stops})),
    )


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
