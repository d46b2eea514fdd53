"""Add a bias to the logits of some tokens, as the `logit_bias` of OpenAI's protocol does. Chooses no token."""

from collections.abc import Mapping

import torch


def biased(logits: torch.Tensor, bias: Mapping[int, float]) -> torch.Tensor:
    """Return logits [..., vocabulary] with the bias of each token added, in float32; unchanged without a bias.

    vLLM and transformers also add to float32: in bfloat16, a part of the bias would be lost.
    """
    if not bias:
        return logits
    ids = torch.tensor(list(bias), device=logits.device)
    values = torch.tensor(list(bias.values()), dtype=torch.float32, device=logits.device)
    return logits.float().index_add(-1, ids, values.expand(*logits.shape[:-1], -1))
