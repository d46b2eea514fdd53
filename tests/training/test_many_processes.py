"""Two processes train what one process trains on the same rows: with DDP, with FSDP, and with DeepSpeed if it is there.

DeepSpeed is no dependency. To run its tests on CPUs: `uv pip install deepspeed`, and `DS_ACCELERATOR=cpu`.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.interrupted import ENVIRONMENT, SHORT_SESSIONS
from tests.support.quick import GUARDED, QUICKSTART, ROOT, quick_overrides

SCRIPT = (str(ROOT / "scripts" / "train.py"),)
FSDP_SCRIPT = ("-m", "tests.support.fsdp_on_cpus")
FSDP = ("train.fsdp=true", "train.fsdp_config={fsdp_version: 2, transformer_layer_cls_to_wrap: [LlamaDecoderLayer]}")
COMMON = (
    *SHORT_SESSIONS,
    "data.train_split=train[:4]",
    "train.per_device_train_batch_size=1",
    "train.max_steps=2",
    "train.learning_rate=0.01",
    "train.logging_steps=1",
    "train.save_strategy=steps",
    "train.save_steps=1",
    "train.eval_strategy=steps",
    "train.eval_steps=1",
)
needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed (uv pip install deepspeed)"
)


def train(model: Path, folder: Path, *overrides: str, n_processes: int, script: tuple[str, ...] = SCRIPT) -> str:
    """Train in this many processes, and return what was printed."""
    settings = [*quick_overrides(model, folder), GUARDED, *COMMON, *overrides]
    settings += ["train.ddp_backend=gloo"] if n_processes > 1 else ["train.gradient_accumulation_steps=2"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n_processes)]
    command = [sys.executable, *(launcher if n_processes > 1 else []), *script, "--config", str(QUICKSTART)]
    command += [part for item in settings for part in ("--set", item)]
    environment = os.environ | ENVIRONMENT | {"DS_ACCELERATOR": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def zero_stage(stage: int, folder: Path) -> str:
    """Return the override for DeepSpeed with this stage of ZeRO."""
    auto = dict.fromkeys(("train_micro_batch_size_per_gpu", "gradient_accumulation_steps"), "auto")
    path = folder / "deepspeed.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": stage}, **auto}), encoding="utf-8")
    return f"train.deepspeed={path}"


@pytest.fixture(scope="module")
def one(shared_tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    folder = tmp_path_factory.mktemp("one") / "run"
    train(shared_tiny_model, folder, n_processes=1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "settings"),
    [
        pytest.param(SCRIPT, (), id="ddp"),
        pytest.param(FSDP_SCRIPT, FSDP, id="fsdp"),
        pytest.param(SCRIPT, (2,), marks=needs_deepspeed, id="zero-2"),
        pytest.param(SCRIPT, (3,), marks=needs_deepspeed, id="zero-3"),
    ],
)
def test_two_processes_train_what_one_trains(
    script: tuple[str, ...],
    settings: tuple[str | int, ...],
    one: Path,
    tiny_model_folder: Path,
    tmp_path: Path,
) -> None:
    overrides = [item if isinstance(item, str) else zero_stage(item, tmp_path) for item in settings]
    two, resumed = (tmp_path / name for name in ("two", "resumed"))
    printed = train(tiny_model_folder, two, *overrides, n_processes=2, script=script)
    again = f"train.resume_from_checkpoint={two / 'checkpoint-1'}"
    train(tiny_model_folder, resumed, *overrides, again, n_processes=2, script=script)
    first = load_file(one / "adapter_model.safetensors")
    metrics = json.loads((one / "metrics.json").read_text(encoding="utf-8"))
    for run in (two, resumed):
        second = load_file(run / "adapter_model.safetensors")
        assert set(first) == set(second)
        for name in first:
            torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5)
        other = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        for state in ("base", "final"):
            assert other[state]["perplexity"] == pytest.approx(metrics[state]["perplexity"], rel=1e-4)
            assert other[state]["guard_perplexity"] == pytest.approx(metrics[state]["guard_perplexity"], rel=1e-4)
        if not settings:  # each process has the whole weights, so the shares of the guard add up to the last bit
            assert other["guard"]["base"]["sessions"] == metrics["guard"]["base"]["sessions"]
        assert other["train"]["loss"] == pytest.approx(metrics["train"]["loss"], rel=1e-4)
        assert (run / "history.jsonl").read_text(encoding="utf-8").count('"eval_perplexity":') == 2
    assert printed.count("Run folder:") == printed.count("step 1/2") == printed.count("train: 4 sessions") == 1
