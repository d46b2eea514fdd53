"""Hugging Face Trainer with loss on supervised tokens only and an evaluation that judges tool calls.

Writes no report.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType, gather_object
from torch import nn
from transformers import Trainer

from trainer.chat.tokens.called_names import CalledNames
from trainer.evaluation import Evaluation, RowLoss, ToolCallEvaluator, row_losses
from trainer.generation.memory_budget import free_bytes
from trainer.generation.settings import DecodeSettings
from trainer.generation.teacher_forcing import DecodedTurn
from trainer.hub import share_names
from trainer.kernels.fast_step import FastStep
from trainer.kernels.precision import bfloat16_autocast, computes_in_bfloat16, let_autocast_choose
from trainer.lora_model import adapter_off, is_sharded
from trainer.loss import SupervisedLoss, n_supervised
from trainer.loss.weights import LossWeighting, token_weights
from trainer.run_layout import BASE, MODEL_CARD, step_name
from trainer.tokenizer import decode_text
from trainer.tool_calls import ToolCallFormat
from trainer.types import Tool, ToolEvalExample
from trainer.util.progress import progress_bar

logger = logging.getLogger(__name__)

_SHARE_OF_STATES = 1 / 8  # of the memory, for what frozen layers computed

OnEvaluation = Callable[[str, Evaluation], None]


def batches_recur(args: Any) -> bool:
    """Whether an epoch has the batches of the one before, as one process has them, and their states can be kept."""
    return args.per_device_train_batch_size == 1 and not args.gradient_checkpointing and not args.torch_compile


class ToolTrainer(Trainer):
    """Trains on supervised tokens; one evaluation measures both perplexity and tool calls.

    `tool_eval_examples` are the turns to judge, `global_tools` the domain's tool schemas, `fmt` the model's
    tool-call format, `decoding` the decoding settings and `loss_weighting` how much each supervised token counts. Rows
    of `eval_dataset` from other sessions count for perplexity only. Evaluations during training judge the
    `selection_examples` instead, if there are any. The tokenizer is Trainer's `processing_class`.

    On the first process, `on_evaluation(name, evaluation)` is called with every evaluation; `name` is `base` or,
    for example, `step-000040`. The logged metrics have Trainer's usual prefix, as in `eval_tool_name_f1`.
    """

    def __init__(
        self,
        *args: Any,
        tool_eval_examples: Sequence[ToolEvalExample],
        global_tools: Sequence[Tool],
        fmt: ToolCallFormat,
        decoding: DecodeSettings,
        selection_examples: Sequence[ToolEvalExample] = (),
        loss_weighting: LossWeighting = "token",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        tokenizer: Any = self.processing_class
        names = CalledNames(partial(decode_text, tokenizer), fmt)
        self._token_weights = partial(token_weights, weighting=loss_weighting, names=names.places)
        self.evaluator, self.selector = (
            ToolCallEvaluator(examples, global_tools, tokenizer=tokenizer, fmt=fmt, settings=decoding)
            for examples in (tool_eval_examples, selection_examples)
        )
        self.last_evaluation: tuple[int, Evaluation] | None = None
        self.n_tokens_seen = 0
        self.n_supervised_seen = 0
        self.on_evaluation: OnEvaluation = lambda name, evaluation: None
        assert isinstance(self.model, nn.Module)
        # Both are made in the first step, when weights may be in shards.
        self._loss: SupervisedLoss | None = None
        self._fast: FastStep | None = None
        self._autocasts_adapter = computes_in_bfloat16(self.model)
        if self._autocasts_adapter:
            let_autocast_choose(self.model)
        # The loss below is a sum divided by the tokens of the whole step. So Trainer must count those tokens, and
        # must not also divide by the gradient accumulation steps.
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> AbstractContextManager[Any]:
        """Trainer's hook around a training step, here for the adapter's precision, also without `train.bf16`."""
        assert isinstance(self.model, nn.Module)
        return bfloat16_autocast(self.model, active=self._autocasts_adapter)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Mean negative log likelihood (nats) over the supervised tokens of the whole optimizer step.

        One row with 8 gradient accumulation steps and 8 rows with 1 step have the same loss and gradient.
        """
        assert isinstance(self.model, nn.Module)
        self._loss = self._loss or SupervisedLoss(self.model)
        with self.accelerator.autocast():  # the head runs outside the model's own forward pass
            weights = self._token_weights(inputs["labels"])
            smoothing = self.args.label_smoothing_factor
            total = self._loss(model, inputs, weights=weights, label_smoothing=smoothing, use_cache=False)
        loss = total / (weights.sum() if num_items_in_batch is None else num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # Gradients are averaged over processes, but the divisor counts the tokens of all processes.
            loss = loss * self.accelerator.num_processes
        return (loss, {}) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> torch.Tensor:
        """Trainer's hook: the weight of all supervised tokens of an optimizer step, of all processes if configured."""
        weights = [self._token_weights(batch["labels"]).sum() for batch in batch_samples]
        total = torch.stack(weights).sum().to(device)
        if self.args.average_tokens_across_devices:
            total = self.accelerator.gather(total).sum()
        return total

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Trainer's step, which also counts tokens for the rates in the log."""
        self.n_tokens_seen += int(inputs["attention_mask"].sum())
        self.n_supervised_seen += int(n_supervised(inputs))
        assert isinstance(self.model, nn.Module)
        if self._fast is None:
            recur = self.state.num_train_epochs > 1 and batches_recur(self.args)
            with self.accelerator.autocast(), self.autocast_smart_context_manager():
                self._fast = FastStep.find(
                    self.model,
                    is_whole=not is_sharded(self.model),
                    on_cpu=self.args.device.type == "cpu",
                    n_bytes_of_states=int(_SHARE_OF_STATES * free_bytes(self.args.device)) if recur else 0,
                )
        with self._fast.over(inputs, comes_again=(self.state.epoch or 0) < self.state.num_train_epochs - 1):
            return super().training_step(model, inputs, *args, **kwargs)

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Perplexity and tool-call metrics of the current model; logs them and calls the callbacks."""
        selects = bool(self.selector.examples) and eval_dataset is None
        evaluation = self._judge_held_out() if selects else self._judge(eval_dataset)
        self.last_evaluation = (self.state.global_step, evaluation)
        metrics = {f"{metric_key_prefix}_{k}": v for k, v in evaluation.metrics.items() if v is not None}
        self.log(metrics)
        self._report(step_name(self.state.global_step), evaluation)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _determine_best_metric(self, metrics: Any, trial: Any) -> bool:
        """Trainer's comparison with the best evaluation so far; an evaluation without the metric is not better.

        A rate has no value if there was nothing to judge, as the precision of a model that makes no calls.
        """
        name = self.args.metric_for_best_model
        if name is not None and f"eval_{name}" not in metrics:
            logger.warning(f"step {self.state.global_step}: {name} has no value, so this checkpoint is not the best")
            return False
        better: bool = super()._determine_best_metric(metrics, trial)
        return better

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save the adapter and the tokenizer, without local paths.

        Trainer also pickles its arguments, with tokens and paths of this machine; nothing here reads them.
        """
        folder = Path(output_dir or self.args.output_dir or "")
        model: Any = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        if state_dict is None and model is not self.model:
            assert self.model is not None
            state_dict = self.model.state_dict()
        model.save_pretrained(str(folder), state_dict=state_dict)
        if not self.args.should_save:
            return
        tokenizer: Any = self.processing_class
        tokenizer.save_pretrained(folder)
        (folder / MODEL_CARD).unlink(missing_ok=True)  # peft's card is a form with a local path
        share_names(folder)

    def evaluate_base(self) -> Evaluation:
        """Evaluate the base model: the loaded model with its adapter disabled."""
        evaluation = self._judge(base=True)
        self._report(BASE, evaluation)
        return evaluation

    def _report(self, name: str, evaluation: Evaluation) -> None:
        if self.is_world_process_zero():
            self.on_evaluation(name, evaluation)

    def _judge(self, eval_dataset: Any = None, *, base: bool = False, title: str | None = None) -> Evaluation:
        """Evaluate the current weights, or the base model. `title` names the evaluation on the screen."""
        title = title or ("Judging base" if base else self._judging())
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        return self._judge_with(self.evaluator, rows, base=base, title=title)

    def _judge_held_out(self) -> Evaluation:
        """Evaluate the current weights on training sessions that are held out."""
        return self._judge_with(self.selector, (), base=False, title=f"{self._judging()}, held-out sessions")

    def _judge_with(self, evaluator: ToolCallEvaluator, rows: Any, *, base: bool, title: str) -> Evaluation:
        started = time.monotonic()
        with self._judged_model(base=base) as model:
            decoded = self._decode_shared(model, evaluator, title)
            other_rows = self._other_rows_shared(model, rows, title)
        holds_turns = len(rows) > 0 and not _names_sessions(rows)
        evaluation = evaluator.evaluate(decoded, other_rows=other_rows, rows_hold_turns=holds_turns)
        evaluation.metrics["runtime_s"] = round(time.monotonic() - started, 2)
        return evaluation

    def decode(self, evaluator: ToolCallEvaluator, *, base: bool, title: str) -> list[DecodedTurn]:
        """Decode the examples of another evaluator with the current weights or the base model, on every process."""
        with self._judged_model(base=base) as model:
            return self._decode_shared(model, evaluator, title)

    @contextmanager
    def _judged_model(self, *, base: bool) -> Iterator[nn.Module]:
        """The model to evaluate, in its precision; the base model is the one with its adapter disabled."""
        model = self._evaluation_model()
        training = model.training
        precision = (self.accelerator.autocast(), self.autocast_smart_context_manager())
        with adapter_off(self.accelerator.unwrap_model(self.model), off=base), precision[0], precision[1]:
            yield model
        model.train(training)

    def _judging(self) -> str:
        """The title of an evaluation at the current step; at the last step, it is the final one."""
        step, last = self.state.global_step, self.state.max_steps
        return "Judging final" if 0 < last <= step else f"Judging step {step}"

    def _evaluation_model(self) -> nn.Module:
        """The model on its device, without the wrapper of DDP or DeepSpeed, which hides the model's settings."""
        assert isinstance(self.model, nn.Module)
        if self.model_wrapped is self.model and not self._is_sharded():  # evaluation before training
            self._move_model_to_device(self.model, self.args.device)
        return self.model

    def _is_sharded(self) -> bool:
        """Whether a process holds a part of the weights only, and gathers the rest for every layer."""
        kind = self.accelerator.distributed_type
        if kind == DistributedType.DEEPSPEED:
            plugin = self.accelerator.state.deepspeed_plugin
            return bool(plugin is not None and plugin.zero_stage == 3)
        return bool(kind == DistributedType.FSDP)

    def _share(self) -> tuple[int, int]:
        """The index of this process's share of an evaluation, and the number of shares.

        Every process must take part in every pass of a sharded model, so there each process evaluates everything.
        """
        if self._is_sharded():
            return 0, 1
        return self.accelerator.process_index, self.accelerator.num_processes

    def _decode_shared(self, model: nn.Module, evaluator: ToolCallEvaluator, title: str) -> list[DecodedTurn]:
        """Decode all examples, split among the processes."""
        share, n_shares = self._share()
        decoded = evaluator.decode(model, share=share, n_shares=n_shares, title=title)
        return self._gathered(decoded)

    def _other_rows_shared(self, model: nn.Module, eval_dataset: Any, title: str) -> list[RowLoss]:
        """The losses of the evaluation rows without a judged turn, split among the processes.

        Each row is a batch of its own; otherwise its padding would depend on the number of processes.
        """
        share, n_shares = self._share()
        rows = list(range(len(eval_dataset)))
        if _names_sessions(eval_dataset):
            judged = {example.session_id for example in self.evaluator.examples}
            rows = [index for index, name in enumerate(eval_dataset["session_id"]) if name not in judged]
        mine = rows[share::n_shares]
        with progress_bar(f"{title}, perplexity", total=len(mine), unit="rows", show=bool(mine)) as advance:
            batches = (self.data_collator([eval_dataset[index]]) for index in mine)
            losses = row_losses(model, batches, on_done=advance)
        return self._gathered(dict(zip(mine, losses, strict=True)))

    def _gathered(self, mine: Mapping[int, Any]) -> list[Any]:
        """The values of all processes in key order, on every process."""
        pairs = list(mine.items())
        if self._share()[1] > 1:
            pairs = gather_object(pairs)
        return [value for _, value in sorted(pairs, key=lambda pair: pair[0])]


def _names_sessions(dataset: Any) -> bool:
    """Whether rows say which session they belong to; those of a domain that makes its own rows may not."""
    return "session_id" in getattr(dataset, "column_names", ())
