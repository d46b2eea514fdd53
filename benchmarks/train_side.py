"""Train a few steps with one of the systems that `train.py` compares, and write the figures. A process of its own."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

SIDES = ("project", "trl", "plain")
_MEMORY_SHARE = 0.9
_MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}


def main(argv: Sequence[str] | None = None) -> int:
    """Read the task, train, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=SIDES, required=True)
    parser.add_argument("--task", type=Path, required=True, help="JSON file that train.py wrote")
    parser.add_argument("--result", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args(argv)
    task = json.loads(args.task.read_text(encoding="utf-8"))
    if args.side == "project":
        from trainer.util.threads import set_up_threads

        set_up_threads()
    result = train(args.side, task)
    args.result.write_text(json.dumps(result), encoding="utf-8")
    return 0


def limit_memory() -> None:
    """Let a system that needs more memory than the machine has fail, instead of another process."""
    import resource

    most = int(_MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def train(side: str, task: dict[str, Any]) -> dict[str, Any]:
    """Return seconds, tokens and loss of every step, the peak memory in GB, and FLOP/s of a plain matrix product."""
    import torch
    from transformers import TrainerCallback, set_seed

    from trainer.training.memory import peak_memory_gb

    seconds: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):
        """Notes when a step begins and ends, and its loss."""

        def on_step_begin(self, *args: Any, **options: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *args: Any, **options: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - self.started)

        def on_log(self, *args: Any, **options: Any) -> None:
            if "loss" in options["logs"]:
                losses.append(options["logs"]["loss"])

    if not torch.cuda.is_available():
        limit_memory()
    set_seed(0)
    rows = json.loads(Path(task["rows"]).read_text(encoding="utf-8"))
    trainer = {"project": _project, "trl": _trl, "plain": _plain}[side](task, rows)
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in ("ProgressCallback", "PrinterCallback"):
            trainer.remove_callback(callback)
    trainer.add_callback(Clock())
    trainer.train()
    memory = peak_memory_gb()
    rate = matrix_rate(task["dtype"])
    return {"seconds": seconds, "losses": losses, "peak_memory_gb": memory, "matrix_flops_per_s": rate}


def matrix_rate(dtype: str) -> float:
    """Return the FLOP/s of the fastest of some matrix products."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = _MATRIX_SIZE[device]
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    fastest = float("inf")
    for _ in range(6):
        started = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - started)
    return 2.0 * size**3 / fastest


def _arguments(task: dict[str, Any]) -> dict[str, Any]:
    """The training arguments that are the same for all systems."""
    import torch

    return {
        "output_dir": task["scratch"],
        "per_device_train_batch_size": task["batch"],
        "max_steps": task["steps"],
        "learning_rate": 1e-4,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": torch.cuda.is_available(),
        "gradient_checkpointing": task["checkpointing"],
    }


def _adapted(task: dict[str, Any], model: Any) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(model, task["adapter"], is_trainable=True)


def _dataset(rows: Sequence[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(list(rows))


def _loaded(task: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(task["model"], dtype=getattr(torch, task["dtype"]))


def _tokenizer(task: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(task["tokenizer"])


def _project(task: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Any:
    from transformers import TrainingArguments

    from trainer.collate import PackingCollator, PaddingCollator
    from trainer.generation.settings import DecodeSettings
    from trainer.tool_calls import get_format
    from trainer.tool_trainer import ToolTrainer

    collator = PaddingCollator if task["batch"] == 1 else PackingCollator  # as a run with `train.packing: auto`
    return ToolTrainer(
        model=_adapted(task, _loaded(task)),
        args=TrainingArguments(**_arguments(task)),
        train_dataset=_dataset(rows),
        data_collator=collator(0, multiple_of=32 if _arguments(task)["use_cpu"] else 1),
        processing_class=_tokenizer(task),
        tool_eval_examples=(),
        global_tools=(),
        fmt=get_format("hermes"),
        decoding=DecodeSettings(frozenset(), max_new_tokens=1, max_context_tokens=1),
    )


def _trl(task: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Any:
    import torch

    trl: Any = import_module("trl")

    on_gpu = torch.cuda.is_available()
    best: dict[str, Any] = {"padding_free": on_gpu, "use_liger_kernel": on_gpu and task["liger"]}
    model = _adapted(task, _loaded(task))
    if on_gpu and task["flash"]:
        model.set_attn_implementation(task["flash"])
    return trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(
            **_arguments(task), **best, bf16=task["dtype"] == "bfloat16", max_length=None, packing=False, eos_token=None
        ),
        train_dataset=_dataset(rows),
        processing_class=_tokenizer(task),
    )


def _plain(task: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Any:
    from transformers import Trainer, TrainingArguments

    from trainer.collate import PaddingCollator

    return Trainer(
        model=_adapted(task, _loaded(task)),
        args=TrainingArguments(**_arguments(task), bf16=task["dtype"] == "bfloat16"),
        train_dataset=_dataset(rows),
        data_collator=PaddingCollator(0),
    )


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
