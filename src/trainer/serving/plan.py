"""What a server has to know about a run: weights, names, template, stop tokens, precision. Starts nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.chat_setup import pick_format
from trainer.errors import ModelError
from trainer.generation.settings import own_stop_tokens
from trainer.lora_model import pick_dtype
from trainer.model_source import resolve_model
from trainer.run_layout import MERGE_REPORT, MODEL_CONFIG
from trainer.tool_calls import ToolCallFormat
from trainer.training.finished_run import TrainedRun
from trainer.training.load_run import run_encoder


@dataclass(frozen=True, slots=True)
class ServePlan:
    """Everything that a server has to know about a run.

    `model` is the folder or hub id of the weights, `adapter` the run folder, or None for a merged model;
    `template_kwargs` are the switches that every prompt was trained with. `names` are the model names that
    clients use: that of the adapter (or the merged model) first, then that of the base model.
    """

    model: str
    adapter: Path | None
    names: tuple[str, ...]
    files: Path
    rank: int
    fmt: ToolCallFormat
    max_context_tokens: int
    dtype: str
    template_kwargs: Mapping[str, Any]
    trust_remote_code: bool
    quantization: str | None
    stop_token_ids: tuple[int, ...]

    def notes(self) -> list[str]:
        """What the user should know about this plan."""
        notes = []
        if self.fmt.vllm_parser is None:
            notes.append(
                f"vLLM has no parser for tool calls in format {self.fmt.name}; they stay text in message.content, "
                "where scripts/eval.py reads them"
            )
        if self.quantization is not None:
            notes.append(
                "vLLM 0.32 knows no quantization bitsandbytes by itself; where it refuses the flag, and no plugin "
                "brings it, use --engine transformers"
            )
        return notes


def plan_serving(run: TrainedRun, *, name: str | None = None, merged: Path | None = None) -> ServePlan:
    """How to serve a run: base model and adapter, or the model that `scripts/merge.py` wrote to `merged`.

    Raises `ModelError` where `merged` holds no model, or a name stands for two.
    """
    if merged is not None and not (merged / MODEL_CONFIG).is_file():
        raise ModelError(f"{merged}: holds no merged model (no {MODEL_CONFIG}); make one with scripts/merge.py")
    encoder = run_encoder(run)
    cfg = run.cfg
    adapter_name = name or run.name
    if merged is None and adapter_name == cfg.model.base_model_name:
        raise ModelError(f"the adapter cannot be served under the name of its base model, {adapter_name}; use --name")
    model = resolve_model(cfg.model.base_model_name) if merged is None else str(merged)
    own_stops = own_stop_tokens(model, trust_remote_code=cfg.model.trust_remote_code)
    return ServePlan(
        model=model,
        adapter=run.path if merged is None else None,
        names=(adapter_name, cfg.model.base_model_name) if merged is None else (adapter_name,),
        files=run.path if merged is None else merged,
        rank=run.rank,
        fmt=pick_format(cfg, encoder),
        max_context_tokens=cfg.data.max_context_length,
        dtype=_merged_dtype(merged) or str(pick_dtype(cfg.model.torch_dtype)).removeprefix("torch."),
        template_kwargs=encoder.template_kwargs,
        trust_remote_code=cfg.model.trust_remote_code,
        quantization=cfg.model.quantization if merged is None else None,
        stop_token_ids=tuple(sorted({*encoder.stop_token_ids, *own_stops})),
    )


def _merged_dtype(merged: Path | None) -> str | None:
    """The precision that a merged model is stored in, as its own files say it."""
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
