"""One module names the files of a run folder and of a served evaluation; all other code uses it."""

import ast
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

from tests.support.quick import ROOT
from trainer import run_layout
from trainer.run_layout import RunLayout, ServedLayout, step_name

NAMES = {
    value for name, value in vars(run_layout).items() if name.isupper() and isinstance(value, str) and "." in value
}
OWN = ROOT / "src" / "trainer" / "run_layout.py"
MODULES = sorted(
    path for folder in ("src", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py") if path != OWN
)


def spelled_names(source: str) -> Iterator[str]:
    """Return the strings of a module that name a file of a run folder, without whole sentences."""
    for node in ast.walk(ast.parse(source)):
        value = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if " " not in value and (PurePath(value).name in NAMES or value == "step-"):
            yield value


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_module_spells_the_name_of_a_file(path: Path) -> None:
    # The project's README has the name of a model card.
    allowed = {run_layout.MODEL_CARD} if "scripts" in path.parts else set()
    assert not set(spelled_names(path.read_text(encoding="utf-8"))) - allowed


def test_a_spelled_name_is_found() -> None:
    source = "a = folder / 'report.html'\nb = 'x/metrics.json'\nc = f'step-{n}'\nd = 'see report.html for more'\n"
    assert sorted(spelled_names(source)) == ["report.html", "step-", "x/metrics.json"]
    assert {"config.resolved.yaml", "adapter_model.safetensors", ".lock"} <= NAMES


def test_a_run_folder_is_laid_out_as_documented(tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    files = [run.config, run.environment, run.metrics, run.history, run.report]
    files += [run.adapter_config, run.adapter_weights, run.chat_template, run.tokenizer_config]
    assert [str(file.relative_to(tmp_path)) for file in files] == [
        "config.resolved.yaml", "environment.json", "metrics.json", "history.jsonl", "report.html",
        "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer_config.json",
    ]  # fmt: skip
    assert run.predictions(step_name(40)) == tmp_path / "predictions" / "step-000040.jsonl"


def test_a_model_with_an_owner_gets_one_folder(tmp_path: Path) -> None:
    served = ServedLayout(RunLayout(tmp_path).served("Owner/Model"))
    assert served.predictions == tmp_path / "served" / "Owner--Model" / "predictions.jsonl"
    names = [served.lenient, served.tools, served.request, served.metrics, served.report, served.lock]
    assert [file.name for file in names] == [
        "lenient.jsonl", "tools.json", "request.json", "metrics.json", "report.html", ".lock"
    ]  # fmt: skip
