"""Build vLLM's command line for a run from its folder. Starts nothing."""

import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.errors import EndpointError, ModelError
from trainer.run_layout import GENERATION_CONFIG, TOOL_PARSER, RunLayout
from trainer.serving.plan import ServePlan
from trainer.serving.vllm_parser.plugin_file import plugin_source
from trainer.training.finished_run import FinishedRun
from trainer.vllm_flags import VLLM_RANKS, allowed_rank

_NO_VLLM = """vLLM is not installed here: no `vllm` beside this Python or on PATH.
  with a GPU:     uv sync --extra serve   (or name the program with --vllm PATH)
  without a GPU:  add --engine transformers, a small server for tests"""


def write_serving_files(plan: ServePlan) -> Path:
    """Write the files that vLLM needs besides the run's own, and return their folder.

    A `generation_config.json` has the plan's stop tokens and nothing else: by default vLLM stops at those of the
    tokenizer and of the base model, and evaluation also stops at the chat template's. `tool_sft_parser.py` makes vLLM
    read calls as training does; it is not written if vLLM's own parser does. The folder is inside the run (or the
    merged model), or a new temporary one if that is read-only. Raises `FormatError` for a format of one's own that no
    other process can import.
    """
    files = {GENERATION_CONFIG: json.dumps({"eos_token_id": list(plan.stop_token_ids)}, indent=2) + "\n"}
    if plan.uses_plugin:
        files[TOOL_PARSER] = plugin_source(plan.chat.fmt)
    folder = RunLayout(plan.files).serving
    try:
        folder.mkdir(exist_ok=True)
        _write(folder, files)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="tool-sft-serving-"))
        _write(folder, files)
    return folder


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def vllm_arguments(plan: ServePlan, *, files: Path, host: str, port: int) -> list[str]:
    """Return the arguments of `vllm`, from `serve` on. `files` is the folder that `write_serving_files` returns."""
    arguments = ["serve", plan.model, "--served-model-name", plan.names[-1], "--tokenizer", str(plan.files)]
    if plan.revision is not None:
        arguments += ["--revision", plan.revision]
    if plan.adapter is not None:
        arguments += ["--enable-lora", "--max-lora-rank", str(allowed_rank(plan.rank))]
        arguments += ["--lora-modules", json.dumps({"name": plan.names[0], "path": str(plan.adapter)})]
    if not plan.has_several_templates:  # one file would be used for all requests; vLLM finds both in --tokenizer
        arguments += ["--chat-template", str(RunLayout(plan.files).chat_template)]
    if (content_format := plan.chat.encoder.content_format) is not None:
        arguments += ["--chat-template-content-format", content_format]
    if plan.chat.encoder.template_kwargs:
        arguments += ["--default-chat-template-kwargs", json.dumps(dict(plan.chat.encoder.template_kwargs))]
    if plan.call_parser is not None:
        arguments += ["--enable-auto-tool-choice", "--tool-call-parser", plan.call_parser]
    if plan.uses_plugin:  # an absolute path, because vLLM takes one that begins with a dot for a module
        arguments += ["--tool-parser-plugin", str((files / TOOL_PARSER).absolute())]
    if plan.reasoning_parser is not None:
        arguments += ["--reasoning-parser", plan.reasoning_parser]
    arguments += ["--max-model-len", str(plan.max_context_tokens), "--dtype", plan.dtype]
    arguments.append("--enable-prompt-tokens-details")  # reports cached tokens, which tool-sft bench shows
    # Stop tokens only: a base model's sampling defaults (such as a repetition penalty) also change greedy answers.
    arguments += ["--generation-config", str(files)]
    if plan.quantization == "4bit":
        arguments += ["--quantization", "bitsandbytes"]
    if plan.trust_remote_code:
        arguments.append("--trust-remote-code")
    return [*arguments, "--host", host, "--port", str(port)]


def shell_line(command: Sequence[str]) -> str:
    """Return the command as text to paste into a shell, one option per line.

    >>> print(shell_line(["vllm", "serve", "my model", "--port", "80"]))
    vllm serve 'my model' \\
      --port 80
    """
    lines: list[list[str]] = [[]]
    for word in command:
        if word.startswith("--") and lines[-1]:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return " \\\n  ".join(" ".join(line) for line in lines)


def find_vllm(given: str | None) -> str:
    """Return the program `vllm`: the given one, else the one beside this Python or on PATH. Raises `EndpointError`."""
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


def refuse_unservable(run: FinishedRun) -> None:
    """Refuse adapters that vLLM would refuse only after minutes of loading. Raises `ModelError`."""
    if run.cfg.model.quantization == "8bit":
        raise ModelError(
            f"{run.path}: was trained on a base model quantized to 8bit. vLLM cannot load that, and on other weights "
            "the adapter would answer differently; serve it with --engine transformers"
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
            f"{run.path}: vLLM cannot serve an adapter with {', '.join(extras)}; merge it with `tool-sft merge` and "
            "serve it with --merged"
        )
