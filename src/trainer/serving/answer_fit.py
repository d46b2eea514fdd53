"""Measure whether a model could have written an answer greedily, up to rounding. Decodes nothing."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import nn

from trainer.config import Config
from trainer.serving.logits import EXACT_TOLERANCE, Prompt, logits_at

ROUNDINGS = 4
"""The largest difference of two logits that counts as rounding, in epsilons of the precision times the largest logit.

A margin between two of the five most likely tokens moved by at most 2.1 such units between float32 and bfloat16 (99%:
1.5), at 450 tokens of the demo. Server and process round independently, so each may use as much.
"""


class AnswerFit(NamedTuple):
    """How an answer fits a model, token by token and at its end.

    `margins` are the logits by which the model prefers its own most likely token; 0 if it would write the same one.
    `worst` is the largest margin as a share of what rounding may cause.
    """

    margins: tuple[float, ...]
    worst: float

    @property
    def fits(self) -> bool:
        """Whether every token is the most likely one up to rounding."""
        return self.worst <= 1


def rounding_share(cfg: Config) -> float:
    """Return the difference that counts as rounding, as a share of the largest logit.

    The server may resolve `torch_dtype: auto` otherwise than this machine, so it counts as bfloat16.
    """
    name = cfg.model.torch_dtype if cfg.model.quantization is None else "auto"
    dtype = torch.bfloat16 if name == "auto" else getattr(torch, name)
    return max(ROUNDINGS * torch.finfo(dtype).eps, EXACT_TOLERANCE)


def answer_fit(
    model: nn.Module,
    prompt_ids: Sequence[int],
    answer_ids: Sequence[int],
    *,
    ends_with: Collection[int],
    share: float,
) -> AnswerFit:
    """Run the model once over prompt and answer (without its stop token), and compare each token with the likeliest.

    This also judges the tokens after the first difference, on the answer's own history. `ends_with` are the stop tokens
    of which one must follow; empty if the token limit ended the answer. `share` comes from `rounding_share`.
    """
    ids, begin = [*prompt_ids, *answer_ids], len(prompt_ids) - 1
    positions = list(range(begin, len(ids) if ends_with else len(ids) - 1))
    if not positions:
        return AnswerFit((), 0.0)
    logits = logits_at(model, Prompt(ids, positions))  # float32 [answer tokens, vocabulary]
    written = torch.tensor(answer_ids, dtype=torch.long)
    chosen = logits[: len(written)].gather(1, written[:, None])[:, 0]
    if ends_with:
        chosen = torch.cat([chosen, logits[-1:, sorted(ends_with)].amax(dim=1)])
    margins = logits.amax(dim=1) - chosen
    allowed = share * logits.abs().amax(dim=1)
    return AnswerFit(tuple(margins.tolist()), float((margins / allowed).max()))
