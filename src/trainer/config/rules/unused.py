"""Keys of TrainingArguments that this trainer does not honour, because it samples, evaluates or saves by itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from trainer.config.problems import Problem

_JUDGED = "the evaluation decodes and judges turns by itself"
_OWN = "; remove the key"

UNUSED: Mapping[str, tuple[Any, str]] = {
    "eval_accumulation_steps": (None, f"{_JUDGED} and keeps no logits{_OWN}"),
    "batch_eval_metrics": (False, f"{_JUDGED} and has no metrics per batch{_OWN}"),
    "include_for_metrics": ([], f"{_JUDGED} and calls no compute_metrics{_OWN}"),
    "prediction_loss_only": (False, f"{_JUDGED}; set data.n_tool_sessions_eval=0 to judge no turns"),
    "eval_do_concat_batches": (True, f"{_JUDGED} and joins no batches{_OWN}"),
    "eval_use_gather_object": (False, f"{_JUDGED} and gathers its results already{_OWN}"),
    "bf16_full_eval": (False, "the evaluation uses the precision of training; set model.torch_dtype=bfloat16"),
    "fp16_full_eval": (False, "the evaluation uses the precision of training; set model.torch_dtype=float16"),
    "label_names": (None, f"rows always have their labels in the column labels{_OWN}"),
    "remove_unused_columns": (False, f"the evaluation needs the columns that it would remove{_OWN}"),
    "length_column_name": ("length", f"rows always have their length in the column length{_OWN}"),
    "do_predict": (False, "a run has no split to predict; use `tool-sft eval` on a served model"),
    "parallelism_config": (None, f"it is a Python object, which YAML cannot express; use train.fsdp{_OWN}"),
}
"""Each key, the only value that is accepted, and why."""


def unused_problems(train: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield one problem for each key that is set to something that would have no effect or do damage."""
    for key, (accepted, reason) in UNUSED.items():
        if key in train and train[key] != accepted and train[key] is not None:
            yield Problem(f"train.{key}", f"got {train[key]!r}, which this trainer does not use: {reason}")
