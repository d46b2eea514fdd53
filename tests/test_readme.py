"""The README and the documents match the code."""

import re
from pathlib import Path

import pytest
from config_reference import with_reference

from tests.support.quick import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_PATH = re.compile(r"(?:configs|data|scripts|src|tests|docs|benchmarks)/[\w./-]*\w")
_PLACES = {"architecture.md": (ROOT, ROOT / "src" / "trainer")}  # what the paths of a document are relative to


def test_the_configuration_reference_is_that_of_the_schema() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_reference(text) == text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8").replace("src/<domain>/", "")
    named = {match[0] for match in _PATH.finditer(text)}
    places = _PLACES.get(document.name, (ROOT,))
    assert not [name for name in sorted(named) if not any(list(place.glob(name + "*")) for place in places)]


def test_every_module_that_the_architecture_names_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", text))
    places = (ROOT, ROOT / "src" / "trainer")
    assert len(named) > 40
    assert not [name for name in sorted(named) if not any((place / name).is_file() for place in places)]
