"""Stop at the first number of training that is not finite, and name the rows that it came from."""

from collections.abc import Mapping
from typing import Any

import torch

from trainer.errors import TrainingError
from trainer.kernels.segments import segments_of

_N_ROWS_NAMED = 8


def check_loss(loss: torch.Tensor, *, step: int, batch: Mapping[str, Any], rows: Any) -> None:
    """Raise `TrainingError` if the loss of a batch is not finite. `rows` is the training dataset."""
    if not torch.isfinite(loss):
        raise TrainingError(
            f"step {step}: the loss is {loss.item()}; rows in the batch: {', '.join(_row_names(batch, rows))}. "
            "Lower train.learning_rate, or look at these rows with tool-sft preview"
        )


def check_gradients(norm: Any, *, step: int) -> None:
    """Raise `TrainingError` if the norm of all gradients is not finite."""
    if norm is not None and not torch.isfinite(torch.as_tensor(norm)):
        raise TrainingError(
            f"step {step}: the norm of the gradients is {float(norm)}; lower train.learning_rate, or set "
            "train.max_grad_norm"
        )


def _row_names(batch: Mapping[str, Any], rows: Any) -> list[str]:
    """The sessions of the rows in a batch, found by their tokens."""
    if "segments" in batch:
        ids = batch["input_ids"][0].tolist()
        wanted = [[token for span in segment.spans for token in ids[slice(*span)]] for segment in batch["segments"]]
    else:
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        wanted = [ids[:length] for ids, length in zip(batch["input_ids"].tolist(), lengths, strict=True)]
    found = [index for index in range(len(rows)) if _first_row(rows[index]) in wanted]
    return [str(rows[index].get("session_id", f"row {index}")) for index in found[:_N_ROWS_NAMED]]


def _first_row(example: Mapping[str, Any]) -> list[int]:
    """The tokens of a row; of joined rows, those of the first one, which is whole."""
    return list(example["input_ids"][: segments_of(example)[0].end])
