"""Score tool calls and measure perplexity: the names that callers use. The code is in `trainer.scoring`."""

from trainer.scoring.aggregate import ToolRow
from trainer.scoring.judging import Verdict
from trainer.scoring.perplexity import TokenLoss, perplexity
from trainer.scoring.predictions import (
    context_hash,
    make_prediction,
    read_predictions,
    write_predictions,
)
from trainer.scoring.score import Scores, score
from trainer.tools import read_tools

__all__ = [
    "Scores",
    "TokenLoss",
    "ToolRow",
    "Verdict",
    "context_hash",
    "make_prediction",
    "perplexity",
    "read_predictions",
    "read_tools",
    "score",
    "write_predictions",
]
