"""The loss of supervised tokens: cross entropy, without the logits of a whole batch in memory."""

from trainer.loss.supervised import SupervisedLoss, n_supervised

__all__ = ["SupervisedLoss", "n_supervised"]
