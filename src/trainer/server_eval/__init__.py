"""Judge, compare and load a served model. Needs no torch."""

from trainer.server_eval.evaluate import ServedOptions, evaluate_served
from trainer.server_eval.load import measure

__all__ = ["ServedOptions", "evaluate_served", "measure"]
