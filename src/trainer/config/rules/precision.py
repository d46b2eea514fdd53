"""Which precision of weights goes with which mixed precision. Knows no hardware."""

from collections.abc import Iterator, Mapping
from typing import Any

from trainer.config.problems import Problem


def precision_problems(train: Mapping[str, Any], dtype: str) -> Iterator[Problem]:
    """Yield a problem for weights in `dtype` (`float32`, `bfloat16`, `float16`) that `train.fp16` would overflow."""
    if train.get("fp16") and dtype == "bfloat16":
        yield Problem(
            "train.fp16",
            "weights in bfloat16 can exceed the range of float16; set train.bf16=true and train.fp16=false, or "
            "model.torch_dtype=float16",
        )
