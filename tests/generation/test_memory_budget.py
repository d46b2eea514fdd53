"""How many tokens an evaluation may hold at once."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

import trainer.generation.memory_budget as module
from tests.support.quick import tiny_model
from trainer.generation.memory_budget import (
    FEWEST_TOKENS,
    MOST_TOKENS,
    key_value_bytes,
    memory_limit,
    most_batch_tokens,
)


def test_bytes_of_keys_and_values_follow_the_configuration() -> None:
    assert key_value_bytes(tiny_model(64)) == 2 * 2 * 2 * 8 * 4  # both, layers, heads, size, bytes
    assert key_value_bytes(tiny_model(64).bfloat16()) == 2 * 2 * 2 * 8 * 2
    assert key_value_bytes(tiny_model(64, head_dim=16)) == 2 * 2 * 2 * 16 * 4
    without: nn.Module = nn.Linear(2, 2)
    without.config = SimpleNamespace(model_type="odd")  # type: ignore[assignment]
    assert key_value_bytes(without) == 0
    assert most_batch_tokens(without) == FEWEST_TOKENS


@pytest.mark.parametrize(
    ("memory", "processes", "expected"),
    [
        (4 * 256 * 100_000, "1", 100_000),
        (4 * 256 * 100_000, "2", 50_000),
        (10**6, "1", FEWEST_TOKENS),
        (10**12, "1", MOST_TOKENS),
    ],
)
def test_a_quarter_of_the_memory_is_filled(
    memory: int, processes: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "memory_limit", lambda: memory)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert most_batch_tokens(tiny_model(64)) == expected


@pytest.mark.parametrize(
    ("name", "content", "is_limit"),
    [
        ("memory.max", "1000000\n", True),
        ("memory/memory.limit_in_bytes", "1000000\n", True),
        ("memory.max", "max\n", False),
        ("other", "1", False),
    ],
)
def test_a_container_limits_the_memory(tmp_path: Path, name: str, content: str, is_limit: bool) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="ascii")
    assert (memory_limit(tmp_path) == 1_000_000) == is_limit
