"""Score tool calls: judge turns, match calls, compute rates with intervals, compare models, store predictions."""

from trainer.scoring.predictions import make_prediction, read_predictions, write_predictions
from trainer.scoring.score import Scores, score

__all__ = ["Scores", "make_prediction", "read_predictions", "score", "write_predictions"]
