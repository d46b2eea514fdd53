"""Imports point only downward, packages re-export the right names, and scoring a served model needs no torch."""

import ast
import importlib
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.modules import torch_free_modules
from tests.support.quick import ROOT

SRC = ROOT / "src"

# From the bottom up. A part is a package or a single file; it may import parts of its own layer and of lower ones.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("types", "errors", "run_layout"),
    ("util", "config", "hub", "values", "tools", "kernels", "model_source", "collate", "vllm_flags"),
    (
        "tool_calls",
        "messages",
        "leaks",
        "scoring",
        "calibration",
        "tokenizer",
        "model_config",
        "lora_model",
        "lora_targets",
        "loss",
    ),
    ("eval_metrics", "chat", "layouts", "data", "endpoint", "generation", "guard", "reports", "side_by_side"),
    ("evaluation", "guard_evaluation", "server_eval", "checking"),
    ("tool_trainer",),
    ("training",),
    ("serving", "live_chat", "learning_curve"),
    ("commands", "__main__"),
)  # fmt: skip
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# The names that a package re-exports; the other packages are used module by module.
FACES: dict[str, set[str]] = {
    "config": {"Config", "as_config", "config_to_yaml", "load_config", "parse_config"},
    "tools": {"SchemaNode", "ToolSpecs", "equal", "read_tools", "rendered_tool"},
    "chat": {"ChatEncoder", "EncodedRow", "EncodedSession", "Span", "TemplateProfile", "canonical_messages"},
    "tool_calls": {
        "RenderedTurn", "ToolCallFormat", "aliases", "check_round_trip", "detect_format", "formats", "get_format",
        "register_format",
    },
    "scoring": {"Scores", "make_prediction", "read_predictions", "score", "write_predictions"},
    "layouts": {
        "Detected", "Layout", "detect_layout", "get_layout", "layouts",
    },
    "messages": {
        "CanonicalMessages", "Conversation", "canonical_messages", "is_trained", "pair_results", "read_messages",
        "with_tools",
    },
    "data": {
        "DatasetBundle", "LivePrompt", "OpenRows", "as_config", "assemble_datasets", "live_prompt", "messages_of",
        "open_table", "pick_format", "read_eval_turns", "tokenize_session",
    },
    "loss": {"SupervisedLoss", "n_supervised"},
    "leaks": {"Fingerprint", "Leak", "find_duplicates", "find_leaks", "fingerprint"},
    "hub": {
        "BASE_MODEL", "DATASET", "PACKAGE_PREFIX", "Source", "Use", "hub_failure", "is_local", "known_sources",
        "pinned", "resolve_base_model", "resolve_dataset", "resolve_tokenizer", "share_names", "shared_name",
        "tokenizer_use", "with_shared_names",
    },
    "server_eval": {"ServedOptions", "evaluate_served", "measure"},
    "endpoint": {
        "Answer", "Dialect", "Endpoint", "EndpointSettings", "Generation", "RetryPolicy", "base_url", "chat_request",
        "ask_turns", "read_address", "read_answer", "retry_after_s", "turn_request", "wire_messages",
    },
}  # fmt: skip

MOST_FILES_IN_A_FOLDER = 16  # but one module per command


def modules_of(package: str) -> list[Path]:
    return sorted((SRC / package).rglob("*.py"))


def name_of(path: Path) -> str:
    """Return the dotted name of a module in `src`."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Return all modules that a file imports anywhere. `from a import b` also counts as `a.b` if that is a module."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names if is_module(f"{base}.{alias.name}")}
    return found


def is_module(name: str) -> bool:
    place = SRC.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def test_every_part_of_the_trainer_has_a_layer() -> None:
    parts = {
        path.stem for path in (SRC / "trainer").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert parts - {"__init__"} == set(LEVEL)
    assert len(LAYERS) <= 9


@pytest.mark.parametrize("path", modules_of("trainer"), ids=name_of)
def test_a_module_imports_only_its_own_layer_and_lower(path: Path) -> None:
    if path == SRC / "trainer" / "__init__.py":
        return
    part = name_of(path).split(".")[1]
    imported = {module.split(".")[1] for module in imports_of(path) if module.startswith("trainer.")}
    assert not {other for other in imported if LEVEL[other] > LEVEL[part]}


def test_no_module_and_no_part_imports_itself_in_a_cycle() -> None:
    modules: dict[str, set[str]] = {}
    parts: dict[str, set[str]] = defaultdict(set)
    for path in modules_of("trainer"):
        name = name_of(path)
        modules[name] = {other for other in imports_of(path) if other.startswith("trainer.") and is_module(other)} - {
            name
        }
        if name != "trainer":
            part = ".".join(name.split(".")[:2])
            parts[part] |= {".".join(other.split(".")[:2]) for other in modules[name]} - {part}
    assert cycle(modules) is None
    assert cycle(parts) is None


def cycle(arrows: dict[str, set[str]]) -> list[str] | None:
    """Return a path that ends where it began, or None."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for other in sorted(arrows.get(name, ())):
            if found := visit(other, [*path, name]):
                return found
        done.add(name)
        return None

    return next((found for name in arrows if (found := visit(name, []))), None)


def test_a_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_no_folder_has_too_many_modules() -> None:
    for folder in {path.parent for path in modules_of("trainer")} - {SRC / "trainer" / "commands"}:
        assert len(list(folder.glob("*.py"))) <= MOST_FILES_IN_A_FOLDER


@pytest.mark.parametrize("package", FACES)
def test_a_package_re_exports_these_names(package: str) -> None:
    assert set(importlib.import_module(f"trainer.{package}").__all__) == FACES[package]


def test_the_other_packages_re_export_nothing() -> None:
    packages = {path.parent.name for path in (SRC / "trainer").glob("*/__init__.py")}
    for package in packages - set(FACES):
        assert not hasattr(importlib.import_module(f"trainer.{package}"), "__all__")


def test_the_trainer_never_imports_a_domain() -> None:
    domains = {path.name for path in SRC.iterdir() if path.is_dir()} - {"trainer"}
    for path in modules_of("trainer"):
        assert not {module.split(".")[0] for module in imports_of(path)} & domains


@pytest.mark.parametrize("package", ["car_sales", "insurance", "simulator_kit"])
def test_a_domain_needs_no_tensors_and_little_of_the_trainer(package: str) -> None:
    assert len(modules_of(package)) > 5
    for path in modules_of(package):
        imported = imports_of(path)
        assert not {module.split(".")[0] for module in imported} & {"torch", "transformers", "peft", "datasets"}
        used = {module for module in imported if module.startswith("trainer.")}
        allowed = ("data", "types", "errors", "util", "util.ordering", "util.clock", "util.session_prompt", "config")
        assert used <= {f"trainer.{name}" for name in allowed}


def test_the_simulator_kit_and_the_domains_know_no_other_domain() -> None:
    domains = {path.name for path in SRC.iterdir() if path.is_dir()} - {"trainer", "simulator_kit"}
    for package in ("simulator_kit", *domains):
        for path in modules_of(package):
            assert not {module.split(".")[0] for module in imports_of(path)} & (domains - {package}), path


def test_light_modules_import_neither_torch_nor_transformers() -> None:
    names = list(torch_free_modules())
    assert len(names) > 60
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'transformers', 'peft'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
