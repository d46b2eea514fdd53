"""Merge an adapter into its base model, and prove on real prompts that the written model answers like the adapter.

There are two comparisons, both in float32 on sessions of the run's evaluation split, at the tokens that the assistant
must produce: for the merged model in memory, which differs only by rounding in float32, and for the files loaded as a
server will load them, with weights rounded to the stored precision.
"""

import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from trainer.data.chat_setup import ChatSetup, make_chat_setup
from trainer.data.domains import domain_datasets, load_domain
from trainer.errors import DataError, ModelError, OutputError, ToolSftError
from trainer.generation.settings import stop_tokens
from trainer.lora_model import adapter_off, pick_dtype
from trainer.model_source import load_failure
from trainer.run_layout import CALIBRATION_FILE, CHAT_TEMPLATE, MERGE_REPORT, RunLayout
from trainer.serving.logits import LogitAgreement, Prompt, compare_logits, logits_at
from trainer.training.finished_run import FinishedRun
from trainer.training.load_run import best_device, load_adapted
from trainer.types import IGNORE_INDEX
from trainer.util.files import claim_folder, replace_json
from trainer.util.library_bars import weight_bars


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What was merged, and how well the merged model agrees with the adapter: in memory, and loaded from the files."""

    run: str
    base_model: str
    dtype: str
    n_sessions: int
    in_memory: LogitAgreement
    stored: LogitAgreement

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        lines = [f"checked on {self.n_sessions} sessions of the evaluation split, {self.stored.n_positions} tokens"]
        for what, found in (("merged in float32", self.in_memory), (f"stored in {self.dtype}", self.stored)):
            lines.append(
                f"{what}: logits differ by at most {found.max_difference:.2g} (mean {found.mean_difference:.2g}, "
                f"largest logit {found.largest_logit:.3g}; the adapter changes them by {found.adapter_effect:.2g} "
                f"on average), same most likely token at {found.argmax_agreement:.2%}"
            )
        return lines


def merge_run(run: FinishedRun, output: Path, *, dtype: str | None = None, n_sessions: int = 4) -> MergeReport:
    """Write the merged model of a run to `output`, completely or not at all, and return the comparisons.

    `dtype` is the precision of the stored weights, by default that of training. Raises `OutputError` if `output` is
    not empty, and `ModelError` if the adapter cannot be merged or the result does not agree with it.
    """
    claim_output(output)
    claim_folder(output.parent, option="--output")
    if run.cfg.model.quantization is not None:
        raise ModelError(
            f"{run.path}: the base model was quantized to {run.cfg.model.quantization} during training, so an adapter "
            "merged into unquantized weights would answer differently. Serve it as an adapter (tool-sft serve --run)"
        )
    run.base_place()  # before data is prepared
    prompts = _prompts(run, n_sessions)
    chat = make_chat_setup(run.cfg, folder=run.path)
    stored_dtype = pick_dtype(dtype or run.cfg.model.torch_dtype)
    model = load_adapted(run, dtype="float32")
    with adapter_off(model, off=True):
        base = [logits_at(model, prompt) for prompt in prompts]
    adapted = [logits_at(model, prompt) for prompt in prompts]
    merged = merge(model)
    in_memory = compare_logits(base, adapted, [logits_at(merged, prompt) for prompt in prompts])
    _require(in_memory.problem(torch.float32), "the merged model")
    scratch = _scratch(output)
    try:
        _write(run, merged.to(stored_dtype), scratch, chat=chat)  # type: ignore[arg-type]
        del model, merged
        again = load_merged(scratch, run)
        stored = compare_logits(base, adapted, [logits_at(again, prompt) for prompt in prompts])
        _require(stored.problem(stored_dtype), "the written model")
        name = str(stored_dtype).removeprefix("torch.")
        report = MergeReport(str(run.path), run.base_name, name, len(prompts), in_memory, stored)
        replace_json(scratch / MERGE_REPORT, asdict(report))
        scratch.chmod(0o755)
        if output.is_dir():
            output.rmdir()  # fails unless it is empty
        scratch.rename(output)
    except BaseException as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, ToolSftError):
            raise OutputError(f"--output {output}: cannot be written: {error}") from error
        raise
    return report


def _scratch(output: Path) -> Path:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as error:
        raise OutputError(f"--output {output}: cannot be written: {error.strerror}") from error


def claim_output(output: Path) -> None:
    """Refuse a folder that is not empty. Raises `OutputError`."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"--output {output}: exists and is not empty; name another folder")


def merge(model: PeftModel) -> PreTrainedModel:
    """Return the base model with the adapter merged into its weights. Raises `ModelError` if that is impossible."""
    try:
        merged: Any = model.merge_and_unload(safe_merge=True)
    except (ValueError, NotImplementedError, TypeError) as error:
        raise ModelError(f"the adapter cannot be merged: {error}") from error
    assert isinstance(merged, PreTrainedModel)
    return merged


def load_merged(folder: Path, run: FinishedRun) -> PreTrainedModel:
    """Return a merged model in float32. Raises `ModelError`."""
    try:
        with weight_bars("Loading the merged model"):
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, trust_remote_code=run.cfg.model.trust_remote_code
            )
    except (OSError, ValueError) as error:
        raise ModelError(load_failure("merged model", str(folder), error)) from error
    model.to(best_device())  # type: ignore[arg-type]
    model.eval()
    return model


def _prompts(run: FinishedRun, n_sessions: int) -> list[Prompt]:
    bundle = domain_datasets(load_domain(run.cfg), run.cfg)
    rows = [bundle.eval_dataset[index] for index in range(min(n_sessions, len(bundle.eval_dataset)))]
    if not rows:
        raise DataError(f"{run.cfg.data.dataset_name}: split {run.cfg.data.eval_split} has no sessions for the check")
    return [
        Prompt(row["input_ids"], [i - 1 for i, label in enumerate(row["labels"]) if label != IGNORE_INDEX])
        for row in rows
    ]


def _write(run: FinishedRun, merged: PreTrainedModel, folder: Path, *, chat: ChatSetup) -> None:
    if merged.generation_config is not None:  # a server must stop where the run's evaluation stops
        stops = stop_tokens(merged.generation_config) | frozenset(chat.encoder.stop_token_ids)
        merged.generation_config.eos_token_id = sorted(stops)
    with weight_bars("Writing the merged model"):
        merged.save_pretrained(folder)
    chat.tokenizer.save_pretrained(folder)
    shutil.copyfile(run.template, folder / CHAT_TEMPLATE)
    if (calibration := RunLayout(run.path).calibration).is_file():
        shutil.copyfile(calibration, folder / CALIBRATION_FILE)


def _require(problem: str | None, what: str) -> None:
    if problem is not None:
        raise ModelError(f"{what} does not answer like the adapter: {problem}. Nothing was written")
