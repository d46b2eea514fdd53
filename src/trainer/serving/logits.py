"""Compute a model's logits on real conversations, and how much the logits of two models differ. Loads no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from trainer.lora_model import takes_logits_to_keep

EXACT_TOLERANCE = 1e-4
"""The largest allowed difference of a logit between adapter and merged model in float32, relative to the largest."""

ROUNDED_TOLERANCE = 0.1
"""The largest allowed mean difference with rounded weights, relative to the mean difference that the adapter makes. The
rounding of the logits themselves (the precision's epsilon times the largest logit) is also allowed, as long as it stays
below the adapter's effect. Above that, the merged model cannot be distinguished from the base model."""


@dataclass(frozen=True, slots=True)
class LogitAgreement:
    """How much the logits of two models differ.

    `max_difference` and `mean_difference` are absolute; `largest_logit` is that of the adapter model; `adapter_effect`
    is the mean absolute difference between base and adapter model. `argmax_agreement` is the share of positions with
    the same most likely token, which rounding may change if two are nearly equal.
    """

    n_positions: int
    max_difference: float
    mean_difference: float
    largest_logit: float
    adapter_effect: float
    argmax_agreement: float

    def problem(self, dtype: torch.dtype) -> str | None:
        """Return why this is not a correct merge of the adapter into weights of `dtype`; None if it is."""
        if dtype == torch.float32:
            found, allowed = self.max_difference, EXACT_TOLERANCE * self.largest_logit
        else:
            rounding = torch.finfo(dtype).eps * self.largest_logit
            found, allowed = self.mean_difference, max(ROUNDED_TOLERANCE * self.adapter_effect, rounding)
        if not found <= allowed:  # also true for NaN
            return f"logits differ by {found:.3g}, more than the allowed {allowed:.3g}"
        if dtype != torch.float32 and 0 < found >= self.adapter_effect:
            name = str(dtype).removeprefix("torch.")
            return (
                f"logits differ by {found:.3g} on average, but the adapter changes them by only "
                f"{self.adapter_effect:.3g}, so rounding to {name} hides its effect; store it with --dtype float32"
            )
        return None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A whole session, and the positions whose next token the assistant must produce."""

    token_ids: Sequence[int]
    positions: Sequence[int]


@torch.inference_mode()
def logits_at(model: nn.Module, prompt: Prompt) -> torch.Tensor:
    """Return logits [positions, vocabulary] in float32 on the CPU."""
    device = next(model.parameters()).device
    ids = torch.tensor([list(prompt.token_ids)], device=device)
    positions = torch.tensor(list(prompt.positions), device=device)
    if takes_logits_to_keep(model):
        logits = model(input_ids=ids, logits_to_keep=positions, use_cache=False).logits[0]
    else:
        logits = model(input_ids=ids, use_cache=False).logits[0, positions]
    assert isinstance(logits, torch.Tensor)
    return logits.float().cpu()


def compare_logits(
    base: Sequence[torch.Tensor], adapted: Sequence[torch.Tensor], merged: Sequence[torch.Tensor]
) -> LogitAgreement:
    """Return how much `merged` differs from `adapted`, and how much the adapter itself changes."""
    pairs = list(zip(base, adapted, merged, strict=True))
    gaps = torch.cat([(one - other).abs().amax(dim=1) for _, one, other in pairs])
    means = torch.cat([(one - other).abs().mean(dim=1) for _, one, other in pairs])
    effects = torch.cat([(one - other).abs().mean(dim=1) for other, one, _ in pairs])
    same = torch.cat([one.argmax(dim=1) == other.argmax(dim=1) for _, one, other in pairs])
    return LogitAgreement(
        n_positions=len(same),
        max_difference=float(gaps.max()),
        mean_difference=float(means.mean()),
        largest_logit=float(max(one.abs().max() for one in adapted)),
        adapter_effect=float(effects.mean()),
        argmax_agreement=float(same.float().mean()),
    )
