"""Imports point only downward, and what scores a served model needs no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"

# From the ground up: a module may import modules of lower layers and of its own.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("types", "errors", "ordering", "cli", "output_files"),
    ("training_keys", "yaml_file", "progress", "memory"),
    ("config",),
    (
        "values",
        "matching",
        "intervals",
        "tool_schemas",
        "tool_specs",
        "turns",
        "rates",
        "tallies",
        "perplexity",
        "tool_wire",
    ),
    ("prediction_lines",),
    ("predictions",),
    ("eval_metrics",),
    ("compare",),
    ("score_tables",),
    ("tool_calls",),
    ("chat",),
    ("endpoint", "chat_request", "chat_protocol"),
    ("asking", "journal", "served_scores", "served_turns", "training_agreement", "load_test"),
    ("load_report",),
    ("base_models", "sources", "data_report", "training_arguments", "domains", "trained_run"),
    ("sessions",),
    ("tokenizer",),
    ("encode_rows", "cross_entropy"),
    ("attention", "data", "lora_model", "collate", "loss", "precision", "trunks", "kv_cache", "drafts"),
    ("blocked_attention", "ragged_attention", "fused_lora"),
    ("continuation",),
    ("adapted_model", "logits"),
    ("serve_command",),
    ("decode", "model_side"),
    ("evaluation",),
    ("local_engine", "merging", "parity"),
    ("local_service",),
    ("local_server",),
    ("tool_trainer", "run_folder", "summary"),
    ("served_report",),
    ("served",),
    ("training_log",),
    ("run",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

TORCH_FREE = (
    "trainer.types",
    "trainer.errors",
    "trainer.config",
    "trainer.tool_calls",
    "trainer.eval_metrics",
    "trainer.summary",
    "trainer.cli",
    "trainer.endpoint",
    "trainer.sessions",
    "trainer.data",
    "trainer.model_side",
    "trainer.served",
    "trainer.served_turns",
    "trainer.load_test",
    "trainer.load_report",
    "trainer.trained_run",
    "trainer.chat_protocol",
    "trainer.training_agreement",
    "car_sales",
)


def modules_of(package: str) -> list[Path]:
    return sorted((SRC / package).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", modules_of("trainer"), ids=lambda path: path.stem)
def test_a_trainer_module_imports_only_its_own_layer_and_lower(path: Path) -> None:
    name = path.relative_to(SRC / "trainer").parts[0].removesuffix(".py")
    if name == "__init__":
        return
    imported = {module.split(".")[1] for module in imports_of(path) if module.startswith("trainer.")}
    too_high = {other for other in imported if LEVEL[other] > LEVEL[name]}
    assert not too_high


def test_the_trainer_never_imports_a_domain() -> None:
    domains = {path.name for path in SRC.iterdir() if path.is_dir()} - {"trainer"}
    for path in modules_of("trainer"):
        assert not {module.split(".")[0] for module in imports_of(path)} & domains


def test_a_domain_needs_no_tensors_and_little_of_the_trainer() -> None:
    for path in modules_of("car_sales"):
        imported = imports_of(path)
        assert not {module.split(".")[0] for module in imported} & {
            "torch",
            "transformers",
            "peft",
            "datasets",
        }
        used = {module for module in imported if module.startswith("trainer")}
        assert used <= {
            "trainer.data",
            "trainer.types",
            "trainer.errors",
            "trainer.ordering",
            "trainer.config",
        }


@pytest.mark.parametrize("module", TORCH_FREE)
def test_a_light_module_imports_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
