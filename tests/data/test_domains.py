"""A domain is found in the working directory, in its `src/`, or beside the configuration, before an installed one."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.quick import ROOT
from trainer.config import Config, load_config
from trainer.data.domains import load_domain
from trainer.errors import ConfigError

MakeConfig = Callable[..., Config]
SOURCE = "def build_datasets(cfg):\n    return {place!r}\n"


@pytest.fixture(autouse=True)
def _forget_domains() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("found_")]:
        del sys.modules[name]


def put(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(SOURCE.format(place=str(folder)), encoding="utf-8")


def config_file(folder: Path, quick_config: MakeConfig, domain: str) -> Config:
    from trainer.config import config_to_yaml

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.yaml"
    path.write_text(config_to_yaml(quick_config(f"data.load_module={domain}")), encoding="utf-8")
    return load_config(path)


@pytest.mark.parametrize("place", ["work/src", "work", "configs"])
def test_a_domain_is_found_where_people_put_it(
    place: str, tmp_path: Path, quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "found_" + place.replace("/", "_")
    put(tmp_path / place, name)
    cfg = config_file(tmp_path / "configs", quick_config, name)
    (tmp_path / "work").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "work")
    assert load_domain(cfg).build_datasets(cfg) == str(tmp_path / place)


def test_the_copy_in_the_working_directory_comes_before_an_installed_one(
    tmp_path: Path, quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "installed", "found_twice")
    put(tmp_path / "work" / "src", "found_twice")
    monkeypatch.syspath_prepend(tmp_path / "work" / "src")  # on the path already, but after the installed one
    monkeypatch.syspath_prepend(tmp_path / "installed")
    cfg = config_file(tmp_path, quick_config, "found_twice")
    monkeypatch.chdir(tmp_path / "work")
    assert load_domain(cfg).build_datasets(cfg) == str(tmp_path / "work" / "src")


def test_a_folder_without_code_is_not_a_domain(
    tmp_path: Path, quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "found_data").mkdir()
    monkeypatch.chdir(tmp_path)
    cfg = config_file(tmp_path, quick_config, "found_nowhere.at_all")
    with pytest.raises(ConfigError, match=r"there is no package found_nowhere\.at_all; put it in src/"):
        load_domain(cfg)


def test_a_module_without_build_datasets_is_refused(
    tmp_path: Path, quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "found_empty.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"found_empty .*found_empty\.py\) has no build_datasets"):
        load_domain(config_file(tmp_path, quick_config, "found_empty"))


def test_a_copy_of_the_example_domain_is_a_real_copy(
    tmp_path: Path, quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "found_copy"
    shutil.copytree(ROOT / "src" / "car_sales", copy)
    text = (copy / "data_prep.py").read_text(encoding="utf-8")
    (copy / "data_prep.py").write_text(
        text.replace('COLUMNS = ("inf', 'COPIED = True\nCOLUMNS = ("inf'), encoding="utf-8"
    )
    cfg = quick_config("data.load_module=found_copy")
    monkeypatch.setitem(sys.modules, "car_sales", None)  # importing the original would fail
    monkeypatch.syspath_prepend(tmp_path)
    copied = load_domain(cfg)
    assert copied.build_datasets(cfg).max_ctx == 4096
    assert sys.modules["found_copy.data_prep"].COPIED
    for name in ("sessions", "dealership", "phrases.train"):
        assert __import__(f"found_copy.simulator.{name}")
