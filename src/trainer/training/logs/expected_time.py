"""About how long training will take on a CPU, from a short measurement. Trains nothing."""

import logging
import math
import time
from typing import Any

import torch
from torch import nn
from transformers import Trainer

from trainer.kernels.trial import pretrained_model
from trainer.lora_model import is_sharded
from trainer.tool_trainer import batches_recur
from trainer.training.batches.joined_rows import row_lengths

logger = logging.getLogger(__name__)

_SECONDS_MEASURED = 0.5
_FEWEST_OPERATIONS = 1e10  # with fewer, a training is over as soon as it would be announced
_MATRIX_SIZE = 1024
_REACHED_SHARE = 0.5  # of the rate of plain products, as benchmarks/train.py measures it, and attention is not counted


def log_expected_time(trainer: Trainer) -> None:
    """Log about how long training takes, if it is on a CPU and the model's operations are known."""
    assert isinstance(trainer.model, nn.Module)
    if trainer.args.device.type != "cpu" or is_sharded(trainer.model):
        return
    lengths = row_lengths(trainer.train_dataset)
    n_tokens = n_training_tokens(trainer.args, n_rows=len(lengths), n_tokens=sum(lengths))
    recomputes = trainer.args.gradient_checkpointing
    n_first = min(n_tokens, sum(lengths) // trainer.args.world_size)
    recurs = batches_recur(trainer.args) and trainer.args.world_size == 1  # several exchange their rows
    n_again = n_tokens - n_first if recurs else 0
    minutes = expected_minutes(trainer.model, n_tokens=n_tokens, n_again=n_again, recomputes=recomputes)
    if minutes is not None:
        shown = f"{minutes:.0f} minutes" if minutes >= 2 else f"{minutes * 60:.0f} seconds"
        logger.info(f"training on {n_tokens:,} tokens takes about {shown} here, and evaluations come on top")


def n_training_tokens(args: Any, *, n_rows: int, n_tokens: int) -> int:
    """Return how many tokens a process trains on: `args` are TrainingArguments, the numbers those of one epoch."""
    rows_per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    n_epochs = float(args.num_train_epochs)
    if args.max_steps > 0:
        n_epochs = args.max_steps / math.ceil(n_rows / rows_per_step)
    return int(n_epochs * n_tokens / args.world_size)


def operations_per_token(model: nn.Module, *, recomputes: bool = False, only_trained: bool = False) -> float | None:
    """Return the floating-point operations of a step per token, without attention's and the head's.

    With `only_trained`, those from the first layer with a trained weight on.

    A weight counts once forward (twice if checkpointed layers are computed again), and once backward from the first
    layer with a trained weight on, and once more if it is trained itself. None if weights are not in linear layers (as
    those of experts, of which a token uses some) or are packed.
    """
    base = pretrained_model(model)
    if base is None or any(weight.dim() > 2 or not weight.is_floating_point() for weight in base.parameters()):
        return None
    head = base.get_output_embeddings()
    n_products, reached = 0.0, False
    for layer in base.modules():
        reached = reached or any(weight.requires_grad for weight in layer.parameters(recurse=False))
        if isinstance(layer, nn.Linear) and layer is not head and (reached or not only_trained):
            n_passes = (2 if recomputes else 1) + reached + layer.weight.requires_grad
            n_products += n_passes * layer.in_features * layer.out_features
    return 2 * n_products or None


def expected_minutes(model: nn.Module, *, n_tokens: int, n_again: int = 0, recomputes: bool = False) -> float | None:
    """Return about how many minutes training on `n_tokens` takes on the CPU; None if it is not known, or no time.

    For `n_again` of them, the layers below the adapter are not computed.
    """
    weight = next((p for p in model.parameters() if not p.requires_grad and p.is_floating_point()), None)
    operations = operations_per_token(model, recomputes=recomputes)
    if weight is None or operations is None or n_tokens * operations < _FEWEST_OPERATIONS:
        return None
    saved = operations - (operations_per_token(model, recomputes=recomputes, only_trained=True) or operations)
    total = n_tokens * operations - n_again * saved
    return total / (_REACHED_SHARE * _product_rate(weight.dtype)) / 60


def _product_rate(dtype: torch.dtype) -> float:
    """Return the floating-point operations per second of plain matrix products."""
    a, b = (torch.ones(_MATRIX_SIZE, _MATRIX_SIZE, dtype=dtype) for _ in range(2))
    a @ b  # the first product compiles its kernel
    n_products, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < _SECONDS_MEASURED:
        a @ b
        n_products += 1
    return 2.0 * _MATRIX_SIZE**3 * n_products / seconds
