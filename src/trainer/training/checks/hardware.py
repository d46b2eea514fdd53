"""Check that the hardware of this machine can do what a run asks for: precision, kernels, quantization. Needs torch."""

from collections.abc import Iterator

import torch

from trainer.config import Config
from trainer.config.problems import Problem, refuse
from trainer.config.rules.precision import precision_problems
from trainer.errors import ModelError
from trainer.lora_model import pick_dtype

_KERNELS = "flash_attention"


def check_hardware(cfg: Config) -> None:
    """Refuse a run that this machine cannot do, with one list of all problems. Raises `ConfigError`, `ModelError`."""
    refuse(str(cfg.path or "configuration"), list(hardware_problems(cfg)))


def hardware_problems(cfg: Config) -> Iterator[Problem]:
    """Yield one problem for each option that needs other hardware, with what to set instead."""
    train = cfg.train
    on_gpu = torch.cuda.is_available() and not train.get("use_cpu")
    if cfg.model.torch_dtype == "auto":
        name = str(pick_dtype("auto")).removeprefix("torch.")
        yield from precision_problems(train, name)
    if train.get("bf16") and not train.get("use_cpu"):
        if not torch.cuda.is_available():
            yield Problem("train.bf16", "needs a GPU, and there is none; remove it, or set train.use_cpu=true")
        elif not torch.cuda.is_bf16_supported():
            yield Problem(
                "train.bf16", "this GPU has no bfloat16 (it needs Ampere or newer); set train.fp16=true instead"
            )
    if on_gpu:
        return
    where = "train.use_cpu is set" if train.get("use_cpu") else "there is none"
    if train.get("fp16"):
        yield Problem("train.fp16", f"needs a GPU, and {where}; remove it, or set train.bf16=true, which CPUs can do")
    if train.get("tf32"):
        yield Problem("train.tf32", f"needs an NVIDIA GPU (Ampere or newer), and {where}; remove it")
    if train.get("use_liger_kernel"):
        yield Problem("train.use_liger_kernel", f"needs a GPU, and {where}; remove it")
    if (cfg.model.attn_implementation or "").startswith(_KERNELS):
        yield Problem(
            "model.attn_implementation", f"{cfg.model.attn_implementation} needs a GPU, and {where}; use sdpa"
        )
    if cfg.model.quantization is not None:
        text = f"{cfg.model.quantization} needs a CUDA GPU, and {where}; remove the key"
        yield Problem("model.quantization", text, ModelError)
