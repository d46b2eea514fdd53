"""Load a finished run in the state in which it was evaluated, for the other benchmarks. Measures nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers import set_seed
from transformers.utils import logging as transformers_logging

from trainer.collate import PaddingCollator
from trainer.config import load_config
from trainer.data.chat_setup import make_chat_setup
from trainer.data.domains import domain_datasets, load_domain
from trainer.errors import DataError, ModelError
from trainer.generation.settings import DecodeSettings, decode_settings
from trainer.kernels.precision import bfloat16_autocast, computes_in_bfloat16, let_autocast_choose
from trainer.lora_model import adapter_off
from trainer.run_layout import ADAPTER_CONFIG, RUN_CONFIG
from trainer.training.finished_run import read_run
from trainer.training.load_run import load_adapted
from trainer.types import ToolEvalExample


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """A model with its adapter, the turns of some evaluation sessions, and their rows as batches of one."""

    model: Any
    examples: tuple[ToolEvalExample, ...]
    rows: tuple[dict[str, torch.Tensor], ...]
    settings: DecodeSettings
    pad_token_id: int
    dtype: torch.dtype

    @contextmanager
    def state(self, name: str) -> Iterator[None]:
        """Inside the block, the model answers as in an evaluation, with the adapter of the state `name`.

        `base` has no adapter, `trained` the run's own, and other names those of `other_adapters`.
        """
        autocast = bfloat16_autocast(self.model, active=computes_in_bfloat16(self.model))
        self.model.set_adapter("default" if name in ("base", "trained") else _peft_name(name))
        with adapter_off(self.model, off=name == "base"), autocast:
            yield


def load_run(
    folder: Path,
    *,
    n_sessions: int,
    dtype: str | None = None,
    other_adapters: Mapping[str, Path] = MappingProxyType({}),
) -> LoadedRun:
    """The run in `folder` with `n_sessions` sessions of its whole evaluation split, in its own precision or `dtype`.

    Raises `ModelError` if there is no finished run, and `DataError` if the split has fewer sessions.
    """
    transformers_logging.disable_progress_bar()
    for path, name in ((folder, RUN_CONFIG), *((p, ADAPTER_CONFIG) for p in (folder, *other_adapters.values()))):
        if not (path / name).is_file():
            raise ModelError(
                f"{path}: not a finished run, it has no {name}; run `make demo` first, or give another folder"
            )
    split = load_config(folder / RUN_CONFIG).data.eval_split.partition("[")[0]
    # The training split is not needed; setting it to the same split saves preparing it.
    changes = [f"data.eval_split={split}", f"data.train_split={split}", f"data.n_tool_sessions_eval={n_sessions}"]
    changes += [f"model.torch_dtype={dtype}"] if dtype else []
    cfg = load_config(folder / RUN_CONFIG, changes)
    set_seed(cfg.seed)
    bundle = domain_datasets(load_domain(cfg), cfg)
    names = {example.session_id for example in bundle.tool_eval_examples}
    if len(names) < n_sessions:
        raise DataError(f"{cfg.data.dataset_name}: split {split} has only {len(names)} sessions; ask for fewer")
    chat = bundle.chat or make_chat_setup(cfg)
    pad_token_id: Any = chat.tokenizer.pad_token_id
    run = read_run(folder)
    model = load_adapted(run, dtype=dtype)
    for name, path in other_adapters.items():
        model.load_adapter(str(path), _peft_name(name))
    settings = decode_settings(cfg, chat.encoder, model, greedy=True)  # the sides are compared token by token
    if computes_in_bfloat16(model):
        let_autocast_choose(model)
    collate = PaddingCollator(pad_token_id)
    rows = tuple(collate([row]) for row in bundle.eval_dataset if row["session_id"] in names)
    base: Any = model.get_base_model()
    return LoadedRun(model, tuple(bundle.tool_eval_examples), rows, settings, pad_token_id, base.dtype)


def _peft_name(name: str) -> str:
    """A name that peft can use as an attribute: without dots, and not an attribute that torch's modules have."""
    return "other_" + "".join(char if char.isalnum() else "_" for char in name)
