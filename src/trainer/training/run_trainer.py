"""A ToolTrainer whose run can end at any moment and go on to the same weights. Chooses no configuration."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed
from transformers.trainer_callback import ExportableState
from transformers.trainer_pt_utils import BatchRebalanceSampler
from transformers.trainer_utils import rotate_checkpoints

from trainer.errors import OutputError
from trainer.evaluation import Evaluation
from trainer.tool_trainer import ToolTrainer
from trainer.training.recovery.checkpoints import checkpoint_name, missing_files, whole_checkpoint
from trainer.training.recovery.finite import check_gradients, check_loss
from trainer.training.recovery.progress import Progress, read_progress, write_progress
from trainer.training.recovery.row_order import EpochOrder, row_lengths
from trainer.training.recovery.stopping import Stopped, StopRequest
from trainer.training.run_folder import RunFolder
from trainer.values.numbers import finite

_STATE_FILE = "trainer_state.json"  # transformers' name


class RunTrainer(ToolTrainer):
    """Trains a run in a `RunFolder`: whole checkpoints, an order of rows that a resumed run repeats, orderly stops.

    Its torch random numbers at a step do not depend on evaluations or on interruptions before it. `before_training` is
    called before the first step, when the weights are where they are trained: on their device, sharded if they will be.
    """

    def __init__(self, *args: Any, folder: RunFolder, stop: StopRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._folder, self._stop = folder, stop
        self._order: Any = None
        self.before_training: Callable[[], None] = lambda: None
        self._checkpoint: Path | None = None
        self._restored: Progress | None = None
        self._stops = False
        self.training_seconds = 0.0
        self.on_evaluation = folder.write_evaluation
        self.add_callback(_RunHooks(self))

    def train_run(self, checkpoint: Path | None) -> Any:
        """Train from the first step, or from a complete checkpoint, to the end.

        Raises `Stopped` after a requested stop, with a checkpoint of the last step, `TrainingError` for numbers that
        are not finite, and `ConfigError` for a checkpoint of another number of processes.
        """
        if checkpoint is not None:
            self._checkpoint = checkpoint
            self._restored = read_progress(checkpoint, n_processes=self.accelerator.num_processes)
            self.args.eval_on_start = False
            if self.is_world_process_zero():
                self._folder.rewind(self._restored.n_history)
            self.accelerator.wait_for_everyone()
        set_seed(self.args.seed)  # whatever ran before
        return self.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Trainer's hook: the order of rows, from the seed and the epoch alone."""
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        strategy = self.args.train_sampling_strategy
        if strategy == "batch_rebalance":
            self._order = super()._get_train_sampler(rows)
            assert isinstance(self._order, BatchRebalanceSampler)
            self._order.seed = self.args.seed
        elif strategy == "sequential":
            self._order = SequentialSampler(rows)
        else:
            self._order = EpochOrder(
                len(rows),
                seed=self.args.seed,
                lengths=row_lengths(rows) if strategy == "group_by_length" else None,
                group_size=self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size,
            )
        return self._order

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Trainer's loop over one epoch; not entered if training is over, as after a resumed last step."""
        if self.control.should_training_stop or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        self._order.epoch = kwargs["epoch"]
        super()._run_epoch(*args, **kwargs)  # type: ignore[no-untyped-call]
        if self._stops:
            raise Stopped

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Trainer's hook after a step and after an epoch. A requested stop skips the evaluation, not the checkpoint.

        The resumed run makes the evaluation that was skipped.
        """
        try:
            super()._maybe_log_save_evaluate(*args, **kwargs)
        except Stopped:
            self._stops = self.control.should_training_stop = True
            self._save_checkpoint(self.model, None)

    def judge(self) -> Evaluation:
        """Evaluate the weights that the run keeps, without a line in the history."""
        return self._judge(self.eval_dataset, base=False, title="Judging final")

    @contextmanager
    def _evaluating(self, *, base: bool) -> Iterator[nn.Module]:
        """Evaluate without a trace in the random numbers of training; a stop need not wait for the end."""
        alone = self.accelerator.num_processes == 1
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices), self._stop.at_once(allowed=alone), super()._evaluating(base=base) as model:
            yield model

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """ToolTrainer's step. Raises `TrainingError` if the loss is not finite, before it changes the weights."""
        loss = super().training_step(model, inputs, *args, **kwargs)
        check_loss(loss, step=self.state.global_step + 1, batch=inputs, rows=self.train_dataset)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Trainer's norm before an optimizer step. Raises `TrainingError` for gradients that are not finite."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        scales = getattr(self.accelerator, "scaler", None) is not None  # float16 skips such a step itself
        if not scales:
            check_gradients(norm, step=self.state.global_step + 1)
        return norm

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Trainer's hook: write the whole adapter, also if FSDP keeps its checkpoints in shards."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call=_internal_call)
            return
        state = self.accelerator.get_state_dict(self.model)  # every process takes part
        if self.args.should_save:
            self._save(output_dir, state_dict=state)

    def _determine_best_metric(self, metrics: Any, trial: Any) -> bool:
        """ToolTrainer's comparison. The best weights are always saved, whatever `save_steps` is."""
        better = super()._determine_best_metric(metrics, trial)
        if better and self.args.load_best_model_at_end:
            self.control.should_save = True
        return better

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Trainer's hook: write a checkpoint whole or not at all, once for a step. Raises `OutputError`."""
        if self.is_saved():
            self._find_best()
            return
        self.store_flos()
        place = self._folder.path / checkpoint_name(self.state.global_step)
        progress = self._progress()
        writes = self.args.should_save
        with whole_checkpoint(place, writes=writes, wait=self.accelerator.wait_for_everyone) as folder:
            self.save_model(str(folder), _internal_call=True)
            if not self.args.save_only_model:
                self._save_optimizer_and_scheduler(str(folder))
                self._save_scaler(str(folder))
                self._save_rng_state(str(folder))
            self._find_best(new=place)
            if writes:
                states: Any = self.state.stateful_callbacks
                for callback in (*self.callback_handler.callbacks, self.control):
                    if isinstance(callback, ExportableState):
                        states[type(callback).__name__] = callback.state()
                self.state.log_history = finite(self.state.log_history)
                self.state.save_to_json(str(folder / _STATE_FILE))
                write_progress(folder, progress)
        if writes:
            rotate_checkpoints(
                output_dir=str(self._folder.path),
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
            )

    def _progress(self) -> Progress:
        unlogged = self.accelerator.gather(self._tr_loss.reshape(1)).mean()
        return Progress(
            n_history=self._folder.n_history,
            n_processes=self.accelerator.num_processes,
            is_evaluated=self.last_evaluation is not None and self.last_evaluation[0] == self.state.global_step,
            is_over=self._is_over(),
            seconds=self.training_seconds,
            n_tokens=self.n_tokens_seen,
            n_supervised=self.n_supervised_seen,
            logged_loss=self._total_loss_scalar,
            unlogged_loss=float(unlogged),
            last_logged_step=self._globalstep_last_logged,
        )

    def _is_over(self) -> bool:
        """Whether no step is left: all are done, or an evaluation ended training early."""
        if self.state.global_step >= self.state.max_steps:
            return True
        return self.control.should_training_stop and not self._stops

    def restore(self, n_steps_per_epoch: int) -> None:
        """Go on where the checkpoint was written; make the evaluation that it was written before."""
        progress = self._restored
        if progress is None:
            return
        self.training_seconds = progress.seconds
        self.n_tokens_seen, self.n_supervised_seen = progress.n_tokens, progress.n_supervised
        self._total_loss_scalar, self._globalstep_last_logged = progress.logged_loss, progress.last_logged_step
        self._tr_loss += progress.unlogged_loss
        self._initial_global_step = 0
        self.control.should_training_stop |= progress.is_over
        self._find_best()
        step = self.state.global_step
        if progress.is_evaluated or not self._evaluates_at(step, n_steps_per_epoch):
            return
        metrics = self._evaluate(None, None)
        if self._determine_best_metric(metrics, None):
            self._save_checkpoint(self.model, None)

    def _evaluates_at(self, step: int, n_steps_per_epoch: int) -> bool:
        """Whether Trainer evaluates after a step: in its interval, and after the last one."""
        strategy = self.args.eval_strategy
        is_last = step >= self.state.max_steps
        if strategy == "epoch":
            at_end = is_last or step % n_steps_per_epoch == 0
            return at_end and self.args.eval_delay <= step / n_steps_per_epoch
        in_interval = is_last or step % max(int(self.state.eval_steps), 1) == 0
        return strategy == "steps" and in_interval and self.args.eval_delay <= step

    def _find_best(self, *, new: Path | None = None) -> None:
        """Note the folder of the best checkpoint: in this run, or in the one that it goes on from.

        `new` is a checkpoint that is being written. Raises `OutputError` if the best weights are needed and gone.
        """
        best = self.state.best_global_step
        if not best:
            return
        folders = [self._folder.path, *([self._checkpoint.parent] if self._checkpoint is not None else [])]
        places = [folder / checkpoint_name(best) for folder in folders]
        found = [str(place) for place in places if place == new or not missing_files(place)]
        if not found and self.args.load_best_model_at_end and best != self.state.global_step:
            raise OutputError(f"{places[0]}: the best checkpoint so far is not complete; begin again")
        self.state.best_model_checkpoint = found[0] if found else None

    def stops_here(self) -> bool:
        """Whether any process has been asked to stop; the same on all of them."""
        asked = self._stop.requested
        if self.accelerator.num_processes > 1:
            flag = torch.tensor([float(asked)], device=self.args.device)
            asked = bool(self.accelerator.gather(flag).sum() > 0)
        self._stops = self._stops or asked
        return self._stops

    def is_saved(self) -> bool:
        """Whether there is a checkpoint of this step."""
        return (self._folder.path / checkpoint_name(self.state.global_step)).is_dir()


class _RunHooks(TrainerCallback):
    """Restores the progress of a checkpoint, and ends training with one when asked to."""

    def __init__(self, trainer: RunTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._trainer.before_training()
        n_batches = len(kwargs["train_dataloader"])
        self._trainer.restore(-(-n_batches // args.gradient_accumulation_steps))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._trainer.stops_here():
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._trainer.stops_here():
            control.should_save, control.should_training_stop = not self._trainer.is_saved(), True
            control.should_evaluate = False
