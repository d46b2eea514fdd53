"""Evaluation needs no more memory for more sessions: a number of tokens bounds what it holds."""

import os
import subprocess
import sys

import pytest

# Keys and values of a token take 64 kB here, so the caches of 16 sessions alone would be 200 MB.
MEASURE = """
import sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from trainer.generation.settings import DecodeSettings
from trainer.generation.teacher_forcing import decode_turns
from trainer.training.memory import peak_memory_gb
from trainer.types import ToolEvalExample

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=500, hidden_size=64, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=4, head_dim=512, max_position_embeddings=512,
)
model = LlamaForCausalLM(config).eval()
draw = torch.Generator().manual_seed(1)
examples = []
for session in range(int(sys.argv[1])):
    ids = tuple(torch.randint(3, 500, (200,), generator=draw).tolist())
    for start in (100, 140, 180):
        examples.append(ToolEvalExample(f"s{session}", start, (), (), "", (), ids[:start], ids[start : start + 20]))
settings = DecodeSettings(frozenset({2}), max_new_tokens=6, max_context_tokens=512, max_batch_tokens=1600)
before = peak_memory_gb()
decoded = decode_turns(model, examples, settings)
assert not any(turn.accepted for turn in decoded)
print(before, peak_memory_gb())
"""


def peak_gb(n_sessions: int) -> tuple[float, float]:
    """The peak resident memory of a process before and after it evaluates this many sessions."""
    command = [sys.executable, "-c", MEASURE, str(n_sessions)]
    # glibc adapts its threshold for returning blocks to the system, and gaps in its heap then change the peak by up to
    # a quarter, independent of the number of sessions. A fixed threshold shows what is really held.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = map(float, done.stdout.split())
    return before, after


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_sessions() -> None:
    few_before, few = peak_gb(16)
    many_before, many = peak_gb(40)
    print(f"16 sessions: {few_before:.3f} → {few:.3f} GB; 40 sessions: {many_before:.3f} → {many:.3f} GB")
    assert few > few_before + 0.05, "the evaluation must cause the peak"
    assert many - many_before < (few - few_before) * 1.1


def test_the_peak_is_that_of_the_process_and_not_of_its_parent() -> None:
    ballast = bytearray(1_500_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])
    code = "from trainer.training.memory import peak_memory_gb; print(peak_memory_gb())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < 1.2
