"""A configured name is a local path or a hub id, and a path that does not exist is refused before any hub is asked."""

from pathlib import Path

import pytest

from trainer.errors import DataError, ModelError
from trainer.hub import BASE_MODEL, DATASET, is_local, resolve_dataset
from trainer.hub.nearby import whats_there


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with one data file and one model folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sessions.jsonl").write_text("{}\n", encoding="utf-8")
    (tmp_path / "my-model").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "./sessions",
        "../sessions",
        "/no-such-folder/sessions",
        "~/no-such-folder/sessions",
        "~no-such-user/sessions",
        "C:/sessions",
        "data\\sessions",
        "some/where/sessions",
        "owner/sessions.jsonl",
        "sessions.parquet",
        "data/session",
        "data/sessions.jsonl/train",
    ],
)
def test_a_path_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"^data\.dataset_name: .* does not exist; .* Give an existing file or folder"):
        is_local(name, DATASET)


@pytest.mark.parametrize("name", ["", "two words", "owner/name?", "a--b", "owner/name.git", "-name", "a\0b", "x" * 300])
def test_a_name_that_cannot_be_a_hub_id_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"^data\.dataset_name: .*cannot be the id of a hub repository.*owner/name"):
        is_local(name, DATASET)


@pytest.mark.parametrize("name", ["squad", "owner/name", "Qwen/Qwen2.5-0.5B", "owner/data"])
def test_other_names_are_hub_ids(name: str) -> None:
    assert not is_local(name, DATASET)
    assert not is_local(name, BASE_MODEL)


def test_what_exists_is_local() -> None:
    assert is_local("data/sessions.jsonl", DATASET)
    assert is_local("data", DATASET)
    assert is_local("my-model", BASE_MODEL)
    assert is_local("package:some_package", BASE_MODEL)


def test_the_nearest_names_are_shown() -> None:
    with pytest.raises(
        DataError, match=r"data/sesions\.jsonl does not exist; did you mean data/sessions\.jsonl\? Give"
    ):
        is_local("data/sesions.jsonl", DATASET)
    with pytest.raises(DataError, match=r"data has sessions\.jsonl\. Give"):
        is_local("data/other/file", DATASET)


def test_a_missing_path_ends_at_a_file_in_an_empty_folder_or_at_the_root(here: Path) -> None:
    (here / "empty").mkdir()
    assert whats_there(Path("data/sessions.jsonl/x")) == "data/sessions.jsonl is a file, not a folder."
    assert whats_there(Path("empty/x")) == "empty is empty."
    assert whats_there(Path("/no-such-folder/x")).startswith("/ has ")


def test_a_revision_says_that_a_name_is_a_hub_id() -> None:
    with pytest.raises(DataError, match=r"if data/session is the id of a hub repository, set data\.revision"):
        is_local("data/session", DATASET)
    assert not is_local("data/session", DATASET, revision="main")
    with pytest.raises(DataError, match="does not exist"):
        is_local("./data/session", DATASET, revision="main")


def test_a_revision_of_something_local_is_refused() -> None:
    for name, what in (("data", "a local folder"), ("data/sessions.jsonl", "a local file")):
        with pytest.raises(DataError, match=rf"^data\.revision: got 'v1', but {name} is {what}.*remove it"):
            resolve_dataset(name, "v1")
    for name, what in (("my-model", "a local folder"), ("package:some_package", "a Python package")):
        with pytest.raises(ModelError, match=rf"^model\.revision: got 'v1', but {name} is {what}.*remove it"):
            is_local(name, BASE_MODEL, revision="v1")


def test_a_model_is_a_folder_and_an_address_is_not_a_name() -> None:
    with pytest.raises(
        ModelError, match=r"^model\.base_model_name: data/sessions\.jsonl is a file; name a model folder"
    ):
        is_local("data/sessions.jsonl", BASE_MODEL)
    with pytest.raises(DataError, match="is an address; give the id"):
        is_local("https://huggingface.co/datasets/owner/name", DATASET)
