"""The report of a run: what it shows, that nothing in it can run or break it, and that it stays small."""

import re
from html import unescape as html_unescaped
from pathlib import Path

import pytest

from tests.support.html_pages import HOSTILE, Page
from tests.support.report_folders import write_run
from trainer.errors import DataError
from trainer.reports.run_page import run_report
from trainer.reports.text import plain
from trainer.reports.writing import write_report


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(run_report(write_run(tmp_path_factory.mktemp("run"))))


@pytest.mark.parametrize(
    "text",
    [
        "turns exactly right", "beyond chance", "Decisions (base)", "Tool names (final)", "Tools, worst first (final)",
        "What is wrong with arguments (final)", "What is not judged:", "Some CPU", "tool-sft serve", "tool-sft chat",
        "Loss", "Learning rate", "perplexity of calls", "wrong arguments", "called book_slot instead",
        "called instead of find_car", "0 stopped being exact", "before training",
    ],
)  # fmt: skip
def test_the_page_answers(page: Page, text: str) -> None:
    assert text in page.text


def test_a_run_that_made_nothing_better_says_so_first(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    predictions = folder / "predictions"
    (predictions / "final.jsonl").write_bytes((predictions / "base.jsonl").read_bytes())
    text = Page(run_report(folder)).text
    assert text.index("Training did not make the model better beyond chance") < text.index("before training")


def test_the_page_needs_no_other_file_and_no_network(page: Page) -> None:
    assert page.is_self_contained
    assert page.tags.count("svg") == 2


def test_a_flipped_turn_is_shown_with_its_conversation(page: Page) -> None:
    assert {"gained", "still wrong"} <= set(re.findall(r"gained|lost|still wrong", page.text))
    assert "session-00000, turn" in page.text
    assert "Hello! 1" in page.text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_neither_runs_nor_breaks_the_page(text: str, tmp_path: Path) -> None:
    html = run_report(write_run(tmp_path, n_turns=20, text=text))
    html.encode()  # no half of a surrogate pair
    found = Page(html)
    assert (found.tags.count("script"), found.tags.count("style"), found.handlers) == (1, 1, [])
    assert "img" not in found.tags
    assert not set("\x00\x1b\u202e\u2066\u200f") & set(html)
    assert plain(text) in html_unescaped(html)


def test_long_texts_are_cut_and_the_cut_is_counted(tmp_path: Path) -> None:
    html = run_report(write_run(tmp_path, n_turns=20, text="x" * 200_000))
    assert len(html) < 3e6
    assert re.search(r"\[1\d\d,\d{3} characters cut\]", html)


def test_five_thousand_turns_fit_into_three_megabytes(tmp_path: Path) -> None:
    html = run_report(write_run(tmp_path, n_turns=5000))
    assert len(html.encode()) < 3e6
    shown = re.search(r"Of 5,000 judged turns, [^.]*\.\s+This page shows (\d+) of them", html)
    assert shown is not None
    assert 0 < int(shown[1]) < 1000  # two of ten turns are wrong
    assert 'value="gained"' in html


@pytest.mark.parametrize(
    "gone", ["history.jsonl", "environment.json", "predictions/conversations.jsonl", "predictions/base.jsonl"]
)
def test_a_folder_of_an_earlier_version_has_a_report(gone: str, tmp_path: Path) -> None:
    (write_run(tmp_path) / gone).unlink()
    assert "turns exactly right" in run_report(tmp_path)


def test_a_report_that_cannot_be_built_costs_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = tmp_path / "report.html"
    report.write_text("of other numbers")
    (write_run(tmp_path) / "metrics.json").write_text("[")
    with pytest.raises(DataError, match=r"metrics\.json: cannot be read"):
        run_report(tmp_path)
    assert not write_report(report, lambda: run_report(tmp_path))
    assert "this file could not be built" in caplog.text
    assert not report.exists()
