"""Load a finished run as the run itself evaluates it, for the benchmarks beside this file. Measures nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from peft import PeftModel
from transformers import set_seed
from transformers.utils import logging as transformers_logging

from trainer.chat import ChatEncoder
from trainer.collate import PaddingCollator
from trainer.config import load_config
from trainer.data.domains import load_domain
from trainer.errors import DataError, ModelError
from trainer.generation.settings import DecodeSettings, decode_settings
from trainer.kernels.precision import bfloat16_autocast, computes_in_bfloat16, let_autocast_choose
from trainer.lora_model import adapter_off, load_base_model
from trainer.run_layout import ADAPTER_CONFIG, RUN_CONFIG
from trainer.tokenizer import load_tokenizer
from trainer.types import ToolEvalExample


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """Model with adapter, the turns of some evaluation sessions, and their rows as collated batches of one."""

    model: Any
    examples: tuple[ToolEvalExample, ...]
    rows: tuple[dict[str, torch.Tensor], ...]
    settings: DecodeSettings
    pad_token_id: int
    dtype: torch.dtype

    @contextmanager
    def state(self, name: str) -> Iterator[None]:
        """Within it, the model answers as in an evaluation: as `base`, `trained`, or with another adapter."""
        autocast = bfloat16_autocast(computes_in_bfloat16(self.model))
        self.model.set_adapter("default" if name in ("base", "trained") else _peft_name(name))
        with adapter_off(self.model, off=name == "base"), autocast:
            yield


def load_run(
    folder: Path,
    *,
    n_sessions: int,
    dtype: str | None = None,
    other_adapters: Mapping[str, Path] = MappingProxyType({}),
) -> FinishedRun:
    """The run in `folder` with `n_sessions` sessions of its whole evaluation split, in its own precision or `dtype`.

    Raises `ModelError` where there is no finished run, and `DataError` where there are fewer sessions.
    """
    transformers_logging.disable_progress_bar()
    for place, name in ((folder, RUN_CONFIG), *((p, ADAPTER_CONFIG) for p in (folder, *other_adapters.values()))):
        if not (place / name).is_file():
            raise ModelError(
                f"{place}: no finished run, it has no {name}; run `make demo` first, or name another folder"
            )
    split = load_config(folder / RUN_CONFIG).data.eval_split.partition("[")[0]
    # The training split is not needed; naming the same one spares its preparation.
    changes = [f"data.eval_split={split}", f"data.train_split={split}", f"data.n_tool_sessions_eval={n_sessions}"]
    changes += [f"model.torch_dtype={dtype}"] if dtype else []
    cfg = load_config(folder / RUN_CONFIG, changes)
    set_seed(cfg.seed)
    bundle = load_domain(cfg.data.load_module).build_datasets(cfg)
    names = {example.session_id for example in bundle.tool_eval_examples}
    if len(names) < n_sessions:
        raise DataError(f"{cfg.data.dataset_name}, split {split}: has {len(names)} sessions; ask for at most as many")
    tokenizer = load_tokenizer(cfg)
    base = load_base_model(cfg, pad_token_id=tokenizer.pad_token_id)
    encoder = ChatEncoder(tokenizer, template_kwargs=cfg.data.chat_template_kwargs)
    settings = decode_settings(cfg, encoder, base, greedy=True)  # the sides are compared token by token
    model = PeftModel.from_pretrained(base, str(folder), is_trainable=True)
    for name, path in other_adapters.items():
        model.load_adapter(str(path), _peft_name(name))
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    if computes_in_bfloat16(model):
        let_autocast_choose(model)
    model.eval()
    collate = PaddingCollator(tokenizer.pad_token_id)
    rows = tuple(collate([row]) for row in bundle.eval_dataset if row["session_id"] in names)
    return FinishedRun(model, tuple(bundle.tool_eval_examples), rows, settings, tokenizer.pad_token_id, base.dtype)


def _peft_name(name: str) -> str:
    """A name that peft can make an attribute of: no dots, and none that torch's modules have already."""
    return "other_" + "".join(char if char.isalnum() else "_" for char in name)
