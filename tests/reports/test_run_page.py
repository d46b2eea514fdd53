"""The report of a run: what it shows, that nothing in it can run or break it, and that it stays small."""

import json
import re
from collections.abc import Mapping
from html import unescape as html_unescaped
from pathlib import Path
from typing import Any

import pytest

from tests.support.html_pages import HOSTILE, Page
from tests.support.report_folders import write_run
from trainer.errors import DataError
from trainer.reports.parts.calibration import calibration_view
from trainer.reports.run_page import run_report
from trainer.reports.text import plain
from trainer.reports.writing import write_report


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(run_report(write_run(tmp_path_factory.mktemp("run"))))


def calibration(**changes: Any) -> dict[str, Any]:
    """What a run keeps about a bias that makes it hallucinate less."""
    curve = [{"bias": b, "missed": m, "hallucinated": h} for b, m, h in (
        (-10.0, 1.0, 0.0), (-3.0, 0.25, 0.0), (-2.5, 0.125, 0.0), (0.0, 0.0, 0.5), (10.0, 0.0, 1.0)
    )]  # fmt: skip
    rates = {"before": {"missed": 0.0, "hallucinated": 0.5}, "after": {"missed": 0.125, "hallucinated": 0.0}}
    judged = {"n_turns": 87, "agreement": 0.977, "curve": curve, **rates}
    values = {"bias": -2.5, "token_ids": [44], "tokens": ["<"], "tradeoff": 2.0, "note": "helps", "n_sessions": 9}
    return {**values, "n_turns": 80, **rates, "evaluation": judged, "curve": curve, **changes}


def page_of(folder: Path, record: Mapping[str, Any]) -> Page:
    write_run(folder)
    (folder / "calibration.json").write_text(json.dumps(record), encoding="utf-8")
    return Page(run_report(folder))


def test_the_bias_on_calls_is_shown_with_what_it_costs(tmp_path: Path) -> None:
    page = page_of(tmp_path, calibration())
    assert "judged with a bias of -2.5 on the logits of '<'" in page.text
    assert "chosen on 80 turns of 9 held-out training sessions; the rate of hallucinated calls counts 2" in page.text
    assert "The margins foresee 97.7% of the decisions of the evaluation." in page.text
    assert page.is_self_contained
    view = calibration_view(calibration())
    assert view is not None
    assert view.chart is not None
    assert view.rates is not None
    names = ["held-out training sessions", "evaluation sessions", "without the bias", "with it"]
    assert [line.name for line in view.chart.lines] == names
    (first, *_) = view.chart.table.rows
    assert [cell.text for cell in first] == [
        "0",
        "12.5",
        "12.5",
        "–",
        "12.5",
    ]  # the fewest missed without hallucinations
    assert [cell.text for cell in view.rates.rows[1]][1:] == ["87", "0.000", "0.125", "0.500", "0.000"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"note": "does not help"},
            "no bias lowers the rates of missed and hallucinated calls in cross-validation on 80 turns",
        ),
        ({"note": "too few turns"}, "80 turns of 9 held-out training sessions are too few"),
        ({"note": "no opening token", "curve": [], "evaluation": None}, "no token begins calls and nothing else"),
    ],
)
def test_a_run_without_a_bias_says_why(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    page = page_of(tmp_path, calibration(bias=0.0, after=calibration()["before"], **changes))
    assert f"Calls get no bias: {said}" in page.text
    assert "Every request" not in page.text


def test_a_run_that_was_not_calibrated_has_no_such_section(page: Page) -> None:
    assert "Bias on calls" not in page.text


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
