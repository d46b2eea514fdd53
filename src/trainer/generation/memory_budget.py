"""The memory of the machine, and how many tokens an evaluation may hold at once, whatever is free now."""

import os
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

FEWEST_TOKENS, MOST_TOKENS = 32_768, 262_144

_SHARE = 0.25  # of the memory, for keys and values
_CGROUPS = Path("/sys/fs/cgroup")


def most_batch_tokens(model: nn.Module) -> int:
    """Return how many tokens have keys and values that fill a quarter of the memory, within 32,768 and 262,144.

    It depends on the machine and the number of its processes only, so a run that is repeated there makes the same
    batches.
    """
    n_bytes = key_value_bytes(model)
    if not n_bytes:
        return FEWEST_TOKENS
    return max(FEWEST_TOKENS, min(MOST_TOKENS, int(_SHARE * device_bytes(next(model.parameters()).device) / n_bytes)))


def key_value_bytes(model: nn.Module) -> int:
    """Return the bytes of a token's keys and values in all layers; 0 if the configuration does not say."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    heads, n_layers = getattr(text, "num_attention_heads", None), getattr(text, "num_hidden_layers", None)
    if not heads or not n_layers:
        return 0
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    n_kv_heads = getattr(text, "num_key_value_heads", None) or heads
    weight = next(model.parameters())
    return int(2 * n_layers * n_kv_heads * size * max(2, weight.element_size()))


def memory_limit(cgroups: Path = _CGROUPS) -> int:
    """Return the bytes of memory that the process may use: those of the machine, or of a container on it."""
    limits = [int(psutil.virtual_memory().total)]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # versions 2 and 1
        try:
            limits.append(int((cgroups / name).read_text(encoding="ascii")))
        except (OSError, ValueError):  # "max"
            continue
    return min(limits)


def free_bytes(device: torch.device) -> int:
    """Return the bytes that are free now, of the memory that a process may use."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(device_bytes(device), int(psutil.virtual_memory().available))


def device_bytes(device: torch.device) -> int:
    """Return the bytes of memory of a GPU, or those of the machine that are a process's share."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return memory_limit() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
