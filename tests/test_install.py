"""The wheel has the right contents, and works in an environment and a folder outside the checkout."""

import statistics
import time
import zipfile
from pathlib import Path

import pytest

from tests.support.environments import borrowing_environment, find_uv, run_clean
from tests.support.quick import ROOT, quick_overrides
from tests.support.shop import write_shop

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of a fresh environment that shares the dependencies of this one."""
    return borrowing_environment(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def wheel(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, install it into that environment, and return it."""
    uv, folder = find_uv(), tmp_path_factory.mktemp("wheel")
    backend = run_clean(uv, "pip", "install", "--dry-run", "--python", programs / "python", "hatchling", cwd=folder)
    if backend.returncode:
        pytest.skip(f"no package index can be reached: {backend.stderr.strip().splitlines()[-1]}")
    built = run_clean(uv, "build", "--wheel", "-o", folder, ROOT, cwd=folder)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    done = run_clean(uv, "pip", "install", "--python", programs / "python", "--no-deps", path, cwd=folder)
    assert done.returncode == 0, done.stderr
    return path


def test_the_wheel_has_types_templates_and_the_simulated_offices(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"trainer/py.typed", "car_sales/py.typed", "trainer/templates/chatml_tools.jinja"} <= names
    assert "trainer/guard/builtin.jsonl" in names
    for package in ("car_sales", "insurance", "simulator_kit"):
        modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / package).rglob("*.py")}
        assert modules | {f"{package}/py.typed"} == {name for name in names if name.startswith(f"{package}/")}


@pytest.mark.usefixtures("wheel")
def test_the_installed_packages_are_those_of_the_wheel(programs: Path, tmp_path: Path) -> None:
    code = "import sys, trainer, car_sales; print(trainer.__file__, car_sales.__file__, trainer.__version__)"
    done = run_clean(programs / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(programs.parent)) == 2
    assert run_clean(programs / "tool-sft", "--version", cwd=tmp_path).stdout.split()[1] == done.stdout.split()[2]


@pytest.mark.usefixtures("wheel")
@pytest.mark.parametrize("words", [(), ("train",), ("eval",)])
def test_help_answers_in_under_half_a_second(programs: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        done = run_clean(programs / "tool-sft", *words, "--help", cwd=tmp_path)
        seconds.append(time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
    print(f"tool-sft {' '.join(words)} --help: {min(seconds):.3f} s, median {statistics.median(seconds):.3f} s")
    assert min(seconds) < 0.5


@pytest.mark.usefixtures("wheel")
def test_a_new_domain_trains_two_steps_in_an_empty_folder(
    programs: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    done = run_clean(programs / "tool-sft", "new-domain", "insurance_eu2", cwd=folder)
    assert done.returncode == 0, done.stderr
    changes = [f"--set={change}" for change in quick_overrides(tiny_model_folder, folder / "run")]
    config = "configs/insurance_eu2.yaml"
    done = run_clean(programs / "tool-sft", "train", "--config", config, *changes, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "step 2/2 | loss " in done.stderr
    assert (folder / "run" / "adapter_model.safetensors").is_file()
    done = run_clean(programs / "python", "-m", "pytest", "tests", cwd=folder)
    assert done.returncode == 0, done.stdout


@pytest.mark.usefixtures("wheel")
@pytest.mark.parametrize(
    "place",
    [
        "on PYTHONPATH",
        "in the working directory",
        "beside the configuration",
    ],
)
def test_a_domain_outside_the_package_trains_two_steps(
    programs: Path, tmp_path: Path, tiny_model_folder: Path, place: str
) -> None:
    config = write_shop(tmp_path / "shop", model=tiny_model_folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cwd = config.parent if place == "in the working directory" else elsewhere
    path = {"PYTHONPATH": str(config.parent)} if place == "on PYTHONPATH" else {}
    done = run_clean(programs / "tool-sft", "train", "--config", config, cwd=cwd, **path)
    assert done.returncode == 0, done.stderr
    assert "step 2/2 | loss " in done.stderr
    assert (config.parent / "run" / "adapter_model.safetensors").is_file()
