"""How much memory a training step keeps for its backward pass, from a model without weights. Computes nothing."""

import logging

import torch
from torch import nn

logger = logging.getLogger(__name__)

_N_TOKENS = 16  # so few that attention's square matrices, which fast kernels do not keep, hardly count


def saved_bytes_per_token(model: nn.Module) -> int:
    """Return the bytes that layers of an empty model save for the backward pass per token, in its dtype; 0 if unknown.

    Nothing is computed: on the device `meta`, the tensors that autograd saves have sizes, but no numbers. Neither
    weights count, nor the loss, nor what dropout of an adapter keeps. Layers that frozen weights let autograd skip do.
    """
    dtype = next(model.parameters()).dtype
    weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
    saved: dict[int, int] = {}
    kept: list[torch.Tensor] = []  # so that no address is used twice

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage.nbytes()
            kept.append(tensor)
        return tensor

    ids = torch.zeros(1, _N_TOKENS, dtype=torch.int64, device="meta")
    mask = torch.zeros(1, 1, _N_TOKENS, _N_TOKENS, device="meta")  # or transformers would look for it in numbers
    try:
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            model(input_ids=ids, attention_mask=mask.to(dtype), use_cache=False, logits_to_keep=1)
    except Exception as error:  # whatever needs numbers, the real model has them
        logger.debug("the memory of a step is not known: %s", error)
        return 0
    return sum(saved.values()) // _N_TOKENS
