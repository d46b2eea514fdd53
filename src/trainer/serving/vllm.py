"""The command line that serves a run by vLLM, filled in from the run folder. Starts nothing."""

import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from trainer.errors import EndpointError, ModelError
from trainer.run_layout import GENERATION_CONFIG, RunLayout
from trainer.serving.plan import ServePlan
from trainer.training.finished_run import TrainedRun

VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes (vLLM 0.32)."""

_NO_VLLM = """vLLM is not installed here: no `vllm` beside this Python or on PATH.
  with a GPU:     uv sync --extra serve   (or name the program with --vllm PATH)
  without a GPU:  the same command with --engine transformers, a small server for tests"""


def write_generation_config(plan: ServePlan) -> Path:
    """A folder whose `generation_config.json` names the plan's stop tokens and nothing else, for vLLM.

    vLLM by itself stops at the end-of-text token of the tokenizer and those of the base model; the training's
    evaluation stops at the template's, too. It lies beside what is served, or in a new temporary folder where that is
    read-only.
    """
    text = json.dumps({"eos_token_id": list(plan.stop_token_ids)}, indent=2) + "\n"
    folder = RunLayout(plan.files).serving
    try:
        folder.mkdir(exist_ok=True)
        (folder / GENERATION_CONFIG).write_text(text, encoding="utf-8")
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="tool-sft-serving-"))
        (folder / GENERATION_CONFIG).write_text(text, encoding="utf-8")
    return folder


def vllm_arguments(plan: ServePlan, *, generation_config: Path, host: str, port: int) -> list[str]:
    """The arguments of `vllm`, beginning with `serve`. `generation_config` is what `write_generation_config` made."""
    arguments = ["serve", plan.model, "--served-model-name", plan.names[-1], "--tokenizer", str(plan.files)]
    if plan.adapter is not None:
        rank = next(rank for rank in VLLM_RANKS if rank >= plan.rank)
        arguments += ["--enable-lora", "--max-lora-rank", str(rank)]
        arguments += ["--lora-modules", json.dumps({"name": plan.names[0], "path": str(plan.adapter)})]
    arguments += ["--chat-template", str(RunLayout(plan.files).chat_template)]
    if plan.template_kwargs:
        arguments += ["--default-chat-template-kwargs", json.dumps(dict(plan.template_kwargs))]
    if plan.fmt.vllm_parser is not None:
        arguments += ["--enable-auto-tool-choice", "--tool-call-parser", plan.fmt.vllm_parser]
    arguments += ["--max-model-len", str(plan.max_context_tokens), "--dtype", plan.dtype]
    # Stop tokens alone: a base model's sampling defaults (a repetition penalty) would apply to greedy requests, too.
    arguments += ["--generation-config", str(generation_config)]
    if plan.quantization == "4bit":
        arguments += ["--quantization", "bitsandbytes"]
    if plan.trust_remote_code:
        arguments.append("--trust-remote-code")
    return [*arguments, "--host", host, "--port", str(port)]


def shell_line(command: Sequence[str]) -> str:
    """The command as a shell takes it, one option a line."""
    lines: list[list[str]] = [[]]
    for word in command:
        if word.startswith("--") and lines[-1]:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return " \\\n  ".join(" ".join(line) for line in lines)


def find_vllm(given: str | None) -> str:
    """The program `vllm`: the given one, that beside this interpreter, or that on PATH. Raises `EndpointError`."""
    if given is not None:
        found = shutil.which(given)
        if found is None:
            raise EndpointError(f"--vllm {given}: no such program")
        return found
    beside = Path(sys.executable).with_name("vllm")
    found = str(beside) if beside.is_file() else shutil.which("vllm")
    if found is None:
        raise EndpointError(_NO_VLLM)
    return found


def refuse_unservable(run: TrainedRun) -> None:
    """Refuse at once the adapters that vLLM refuses after minutes of loading. Raises `ModelError`."""
    if run.cfg.model.quantization == "8bit":
        raise ModelError(
            f"{run.path}: was trained on a base model quantized to 8bit, which vLLM cannot load (no bitsandbytes in 8 "
            "bits), and on other weights the adapter would answer differently; serve it with --engine transformers"
        )
    extras = [
        what
        for what, present in (
            (f"trained biases (lora.bias: {run.adapter.get('bias')})", run.adapter.get("bias", "none") != "none"),
            ("DoRA", run.adapter.get("use_dora")),
            ("whole trained modules (modules_to_save)", run.adapter.get("modules_to_save")),
            (f"rank {run.rank} (at most {VLLM_RANKS[-1]})", run.rank > VLLM_RANKS[-1]),
        )
        if present
    ]
    if extras:
        raise ModelError(
            f"{run.path}: vLLM serves no adapter with {', '.join(extras)}; merge it with scripts/merge.py and serve "
            "it with --merged"
        )
