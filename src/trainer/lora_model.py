"""Load the base model of a configuration and add a LoRA adapter to it."""

import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedModel,
)

from trainer.config import Config
from trainer.config.schema import LoraConfig, ModelConfig
from trainer.errors import ModelError
from trainer.kernels.trial import pretrained_model
from trainer.lora_targets import check_target_modules, excluded_modules
from trainer.model_source import base_model_place
from trainer.util.library_bars import weight_bars

_MARKS_OF_SHARDS = ("ds_id", "full_tensor", "_is_flat_param")  # of DeepSpeed, FSDP2 and FSDP1
_N_KEYS_SHOWN = 5


def load_base_model(cfg: Config, *, pad_token_id: int | None = None) -> PreTrainedModel:
    """The base model in the configured precision, on the CPU unless quantized. Raises `ModelError`."""
    place = base_model_place(cfg)
    options: dict[str, Any] = {
        "revision": place.revision,
        "dtype": pick_dtype(cfg.model.torch_dtype),
        "trust_remote_code": cfg.model.trust_remote_code,
        "quantization_config": _quantization(cfg.model),
    }
    if cfg.model.attn_implementation is not None:
        options["attn_implementation"] = cfg.model.attn_implementation
    try:
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # so that both are reported below
        with weight_bars("Loading the base model"):
            found: Any = AutoModelForCausalLM.from_pretrained(place.name, **options)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise place.failure("base model", error) from error
    model: PreTrainedModel = found[0]
    _check_loaded(cfg.model.base_model_name, found[1])
    if pad_token_id is not None:
        model.config.pad_token_id = pad_token_id
    return model


def _check_loaded(name: str, loaded: Mapping[str, Any]) -> None:
    """Refuse a model of which some weights were missing or had another size; transformers fills them at random.

    Weights that the architecture shares or computes are not among the missing ones.
    """
    missing = sorted(loaded.get("missing_keys", ()))
    wrong = sorted(str(one[0]) if isinstance(one, tuple) else str(one) for one in loaded.get("mismatched_keys", ()))
    for what, keys in (("are missing from its files", missing), ("have another size than config.json says", wrong)):
        if keys:
            shown = ", ".join(keys[:_N_KEYS_SHOWN]) + (", …" if len(keys) > _N_KEYS_SHOWN else "")
            raise ModelError(f"{name}: {len(keys)} weights {what}: {shown}; download the model again")


def pick_dtype(name: str) -> torch.dtype:
    """The torch dtype of a configured name; `auto` is bfloat16 where it is faster than float32, else float32.

    Emulated bfloat16 is slower than float32 and less accurate. So is that of Intel's processors without matrix units
    (docs/performance.md).
    """
    if name != "auto":
        dtype = getattr(torch, name)
        assert isinstance(dtype, torch.dtype)
        return dtype
    return torch.bfloat16 if _multiplies_bfloat16() else torch.float32


def _multiplies_bfloat16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    is_intel = str(capabilities.get("cpu_name", "")).startswith("Intel")
    fast = ("amx_bf16", "bf16") if is_intel else ("avx512_bf16", "amx_bf16", "bf16")
    return any(capabilities.get(name, False) for name in fast)


def add_lora(model: PreTrainedModel, lora: LoraConfig, *, revision: str | None = None) -> PeftModel:
    """Wrap a base model with a new LoRA adapter; only the adapter can be trained.

    `revision` is the commit of a base model from the hub; the adapter's own configuration then names it.
    It stays out of towers for images and sound. Raises `ModelError` if a target matches no module of the language
    model, or a module that cannot have an adapter.
    """
    check_target_modules(model, lora.target_modules)
    try:
        adapter = PeftLoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.target_modules,
            exclude_modules=excluded_modules(model, lora.target_modules),
            bias=lora.bias,
            task_type=lora.task_type,
        )
        wrapped = get_peft_model(model, adapter, revision=revision)
    except (ValueError, TypeError, NotImplementedError, ImportError) as error:
        raise ModelError(
            f"lora: peft refuses these settings for a {type(model).__name__}: {_one_line(error)}; use names of "
            "linear modules or all-linear in lora.target_modules"
        ) from error
    assert isinstance(wrapped, PeftModel)
    return wrapped


def _one_line(error: Exception) -> str:
    """The reason of an error of peft, without the printed module tree that it may hold."""
    text = str(error).strip() or type(error).__name__
    text = re.sub(r"\(.*\)", "", text, flags=re.DOTALL) if "\n" in text else text
    return " ".join(text.split()).rstrip(".")


def _quantization(model: ModelConfig) -> BitsAndBytesConfig | None:
    if model.quantization is None:
        return None
    if not torch.cuda.is_available():
        raise ModelError(
            f"model.quantization: {model.quantization} needs a CUDA GPU, and there is none; remove the key"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError("model.quantization: bitsandbytes is not installed; run `uv sync --extra quantization`")
    if model.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    # NF4 with double quantization: Dettmers et al. 2023, QLoRA.
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=pick_dtype("auto"),
    )


def takes_logits_to_keep(model: nn.Module) -> bool:
    """Whether the model, with or without adapter and wrappers, can compute logits at chosen positions only."""
    base = pretrained_model(model)
    return base is not None and "logits_to_keep" in inspect.signature(type(base).forward).parameters


def no_gradients(model: nn.Module) -> AbstractContextManager[Any]:
    """A block without gradients: the fastest kind for weights that are whole.

    Weights that are gathered for every layer (DeepSpeed ZeRO-3, FSDP) would become tensors that no step can use.
    """
    return torch.no_grad() if is_sharded(model) else torch.inference_mode()


def is_sharded(model: nn.Module) -> bool:
    """Whether a process holds a part of the weights only, and gathers the rest for every layer."""
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        return True  # FSDP1 may show whole weights, which are empty outside a layer's own pass
    return any(hasattr(weight, name) for weight in model.parameters() for name in _MARKS_OF_SHARDS)


@contextmanager
def adapter_off(model: Any, *, off: bool) -> Iterator[None]:
    """Inside the block, an adapted model answers as its base model if `off` is set."""
    if not off:
        yield
        return
    with model.disable_adapter():
        yield
