"""The report of a served evaluation: what it shows, and that nothing in it can run or break it."""

import json
from pathlib import Path

import pytest

from tests.support.html_pages import HOSTILE, Page
from tests.support.report_folders import write_served
from trainer.errors import DataError
from trainer.reports.served_page import served_report


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(served_report(write_served(tmp_path_factory.mktemp("served"), text="overloaded")))


@pytest.mark.parametrize(
    "text",
    [
        "served at http://127.0.0.1:1/v1", "strict", "lenient", "final, in process", "Turns without an answer",
        "overloaded", "same answer", "37 (92.5%)", "skipped for length by the run", "rates that differ beyond chance",
        "turn_exact", "Decisions (strict)", "Tools, worst first (strict)", "What is not judged:", "max tokens",
    ],
)  # fmt: skip
def test_the_page_answers(page: Page, text: str) -> None:
    assert text in page.text


def test_the_page_needs_no_other_file_and_no_network(page: Page) -> None:
    assert page.is_self_contained


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_only_texts(text: str, tmp_path: Path) -> None:
    html = served_report(write_served(tmp_path, text=text))
    html.encode()
    found = Page(html)
    assert (found.tags.count("script"), found.tags.count("style"), found.handlers) == (1, 1, [])
    assert not set("\x00\x1b\u202e\u2066\u200f") & set(html)


def test_lines_of_turns_that_were_not_judged_again_are_left_out(tmp_path: Path) -> None:
    folder = write_served(tmp_path)
    lenient = folder / "lenient.jsonl"
    lines = lenient.read_text(encoding="utf-8").splitlines(keepends=True)
    lenient.write_text("".join(lines[:10]), encoding="utf-8")
    assert "of 10 judged turns are not exact" in served_report(folder)


@pytest.mark.parametrize("gone", ["request.json", "lenient.jsonl", "predictions.jsonl", "tools.json"])
def test_a_folder_without_a_file_has_a_report(gone: str, tmp_path: Path) -> None:
    (write_served(tmp_path) / gone).unlink(missing_ok=True)
    assert "served at" in served_report(tmp_path)


def test_a_malformed_file_is_named(tmp_path: Path) -> None:
    (write_served(tmp_path) / "metrics.json").write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics\.json: must hold an object"):
        served_report(tmp_path)
