"""The command line that serves a run by vLLM, filled in from the run folder. Starts nothing."""

import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.adapted_model import own_stop_tokens, run_encoder
from trainer.base_models import resolve_model
from trainer.data import pick_format
from trainer.errors import EndpointError, ModelError
from trainer.lora_model import pick_dtype
from trainer.tool_calls import ToolCallFormat
from trainer.trained_run import TrainedRun

VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes (vLLM 0.32)."""

GENERATION_FOLDER = "serving"
"""Where, beside what is served, the generation config for vLLM lies."""

_NO_VLLM = """vLLM is not installed here: no `vllm` beside this Python or on PATH.
  with a GPU:     uv sync --extra serve   (or name the program with --vllm PATH)
  without a GPU:  the same command with --engine transformers, a small server for tests"""


@dataclass(frozen=True, slots=True)
class ServePlan:
    """Everything that a server has to know about a run.

    `model` is the folder or hub id of the weights, `adapter` the run folder, or None for a merged model;
    `template_kwargs` are the switches that every prompt was trained with. `names` are the model names that
    clients use: that of the adapter (or the merged model) first, then that of the base model.
    """

    model: str
    adapter: Path | None
    names: tuple[str, ...]
    files: Path
    rank: int
    fmt: ToolCallFormat
    max_context_tokens: int
    dtype: str
    template_kwargs: Mapping[str, Any]
    trust_remote_code: bool
    quantization: str | None
    stop_token_ids: tuple[int, ...]

    def notes(self) -> list[str]:
        """What the user should know about this plan."""
        notes = []
        if self.fmt.vllm_parser is None:
            notes.append(
                f"vLLM has no parser for tool calls in format {self.fmt.name}; they stay text in message.content, "
                "where scripts/eval.py reads them"
            )
        if self.quantization is not None:
            notes.append(
                "vLLM 0.32 knows no quantization bitsandbytes by itself; where it refuses the flag, and no plugin "
                "brings it, use --engine transformers"
            )
        return notes


def plan_serving(run: TrainedRun, *, name: str | None = None, merged: Path | None = None) -> ServePlan:
    """How to serve a run: base model and adapter, or the model that `scripts/merge.py` wrote to `merged`.

    Raises `ModelError` where `merged` holds no model, or a name stands for two.
    """
    if merged is not None and not (merged / "config.json").is_file():
        raise ModelError(f"{merged}: holds no merged model (no config.json); make one with scripts/merge.py")
    encoder = run_encoder(run)
    cfg = run.cfg
    adapter_name = name or run.name
    if merged is None and adapter_name == cfg.model.base_model_name:
        raise ModelError(f"the adapter cannot be served under the name of its base model, {adapter_name}; use --name")
    model = resolve_model(cfg.model.base_model_name) if merged is None else str(merged)
    own_stops = own_stop_tokens(model, trust_remote_code=cfg.model.trust_remote_code)
    return ServePlan(
        model=model,
        adapter=run.path if merged is None else None,
        names=(adapter_name, cfg.model.base_model_name) if merged is None else (adapter_name,),
        files=run.path if merged is None else merged,
        rank=run.rank,
        fmt=pick_format(cfg, encoder),
        max_context_tokens=cfg.data.max_context_length,
        dtype=_merged_dtype(merged) or str(pick_dtype(cfg.model.torch_dtype)).removeprefix("torch."),
        template_kwargs=encoder.template_kwargs,
        trust_remote_code=cfg.model.trust_remote_code,
        quantization=cfg.model.quantization if merged is None else None,
        stop_token_ids=tuple(sorted({*encoder.stop_token_ids, *own_stops})),
    )


def _merged_dtype(merged: Path | None) -> str | None:
    """The precision that a merged model is stored in, as its own files say it."""
    if merged is None:
        return None
    for name in ("merge.json", "config.json"):
        try:
            content = json.loads((merged / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        dtype = (content.get("dtype") or content.get("torch_dtype")) if isinstance(content, dict) else None
        if isinstance(dtype, str):
            return dtype.removeprefix("torch.")
    return None


def write_generation_config(plan: ServePlan) -> Path:
    """A folder whose `generation_config.json` names the plan's stop tokens and nothing else, for vLLM.

    vLLM by itself stops at the end-of-text token of the tokenizer and those of the base model; the training's
    evaluation stops at the template's, too. It lies beside what is served, or in a new temporary folder where that is
    read-only.
    """
    text = json.dumps({"eos_token_id": list(plan.stop_token_ids)}, indent=2) + "\n"
    folder = plan.files / GENERATION_FOLDER
    try:
        folder.mkdir(exist_ok=True)
        (folder / "generation_config.json").write_text(text, encoding="utf-8")
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="tool-sft-serving-"))
        (folder / "generation_config.json").write_text(text, encoding="utf-8")
    return folder


def vllm_arguments(plan: ServePlan, *, generation_config: Path, host: str, port: int) -> list[str]:
    """The arguments of `vllm`, beginning with `serve`. `generation_config` is what `write_generation_config` made."""
    arguments = ["serve", plan.model, "--served-model-name", plan.names[-1], "--tokenizer", str(plan.files)]
    if plan.adapter is not None:
        rank = next(rank for rank in VLLM_RANKS if rank >= plan.rank)
        arguments += ["--enable-lora", "--max-lora-rank", str(rank)]
        arguments += ["--lora-modules", json.dumps({"name": plan.names[0], "path": str(plan.adapter)})]
    arguments += ["--chat-template", str(plan.files / "chat_template.jinja")]
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
