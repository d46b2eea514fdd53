"""Put an attention function of our own in the place of torch's kernel for a while. Knows no such function."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from peft import PeftModel
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

AttentionFunction = Callable[..., tuple[Any, None]]


@contextmanager
def attend_with(model: nn.Module, name: str, function: AttentionFunction) -> Iterator[None]:
    """Within it, a model that attends by torch's kernel (`sdpa`) calls `function`, known to transformers by `name`.

    Any other model is left alone. The masks are those that the kernel would get.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(base, PreTrainedModel) or base.config._attn_implementation != "sdpa":
        yield
        return
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, sdpa_mask)
    configs = [base.config, base.config.get_text_config()]
    for config in configs:
        config._attn_implementation = name
    try:
        yield
    finally:
        for config in configs:
            config._attn_implementation = "sdpa"
