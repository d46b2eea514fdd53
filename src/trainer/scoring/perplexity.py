"""Perplexity from summed loss, split into call tokens and prose tokens."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """Summed negative log-likelihood (nats) and number of supervised tokens, for calls and for prose.

    Every supervised token is one or the other: a token inside the text of a gold call is a call token; the rest
    of the turn, including its stop token, is prose. `+` adds the sums of two passes.
    """

    call_nll: float = 0.0
    n_call_tokens: int = 0
    prose_nll: float = 0.0
    n_prose_tokens: int = 0

    def __add__(self, other: "TokenLoss") -> "TokenLoss":
        return TokenLoss(
            self.call_nll + other.call_nll,
            self.n_call_tokens + other.n_call_tokens,
            self.prose_nll + other.prose_nll,
            self.n_prose_tokens + other.n_prose_tokens,
        )

    def metrics(self) -> dict[str, float | None]:
        """`perplexity`, `perplexity_call_tokens`, `perplexity_prose_tokens`, and the token counts."""
        n_tokens = self.n_call_tokens + self.n_prose_tokens
        return {
            "perplexity": perplexity(self.call_nll + self.prose_nll, n_tokens),
            "perplexity_call_tokens": perplexity(self.call_nll, self.n_call_tokens),
            "perplexity_prose_tokens": perplexity(self.prose_nll, self.n_prose_tokens),
            "n_call_tokens": self.n_call_tokens,
            "n_prose_tokens": self.n_prose_tokens,
        }


def perplexity(total_nll: float, n_tokens: int) -> float | None:
    """e to the mean negative log-likelihood (nats) per token; lower is better, 1 is certainty.

    None if there are no tokens, or if the loss is not finite or its exponential is out of range, so the result is
    always valid JSON.

    >>> perplexity(0.0, 7)
    1.0
    """
    mean_nll = total_nll / n_tokens if n_tokens else math.nan
    return math.exp(mean_nll) if mean_nll < 700 else None
