"""`tool-sft show`: a session for people in the terminal, and the whole dataset as one page."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from show import main

from trainer.chat.verify import verify_row

CONFIG = "configs/car_sales/quickstart.yaml"
FEW = ["--set", "data.train_split=train[:6]", "--set", "data.eval_split=test[:2]"]
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> \u202eevil\x1b[31m {{ 7 * 7 }} <|im_end|>'


class Page(HTMLParser):
    """The elements of a page, and what its sessions say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def count(self, tag: str, **attributes: str) -> int:
        return sum(
            name == tag and attributes.items() <= {key: value for key, value in found.items() if value}.items()
            for name, found in self.tags
        )


def test_a_session_is_shown_by_messages_with_tools_and_proof_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", CONFIG, *FEW, "--row", "1"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("session train-0001: 1 row(s)")
    assert re.search(r"\n8 tools, \d+ tokens: --tools shows them\n", shown)
    assert "trade_in_value(plate" not in shown
    n_learned = shown.count("tokens to learn")
    assert n_learned == shown.count("⟦") > 5
    assert shown.endswith(f"\nproof: all {n_learned} spans equal the serving prompts\n")
    assert main(["--config", CONFIG, *FEW, "--session", "train-0001", "--tools"]) == 0
    assert "trade_in_value(plate" in capsys.readouterr().out


def test_spans_that_are_not_proven_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong_second(*given: Any, **options: Any) -> Any:
        checks = verify_row(*given, **options)
        return [checks[0], checks[1]._replace(prompt_is_exact=False), *checks[2:]]

    monkeypatch.setattr("trainer.checking.session_screen.verify_row", wrong_second)
    assert main(["--config", CONFIG, *FEW]) == 0
    end = capsys.readouterr().out.splitlines()[-2:]
    assert re.fullmatch(r"proof: (\d+) of \d+ spans equal the serving prompts; the others:", end[0])
    assert "the prompt DIFFERS FROM the serving prompt, the span spells the turn" in end[1]


def test_the_page_has_every_session_and_its_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dataset.html"
    assert main(["--config", CONFIG, *FEW, "--html", str(path)]) == 0
    assert "8 sessions listed, 8 of 8 sessions as tokens" in capsys.readouterr().out
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.count("details", id="session-8") == 1
    assert page.count("mark") > 60
    assert page.count("figure") == 2
    assert "8 tools" in "".join(page.texts)
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert check_lengths(text) > 150


def check_lengths(page: str) -> int:
    """Check that the lengths of the tokens of each part add up to its text, and return the number of parts."""
    parts = re.findall(r'data-lengths="([\d,]+)">([^<]*)<', page)
    for lengths, text in parts:
        assert sum(map(int, lengths.split(","))) == len(html.unescape(text).encode("utf-16-le")) // 2
    return len(parts)


def test_named_sessions_come_first_and_the_rest_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dataset.html"
    assert main(["--config", CONFIG, *FEW, "--html", str(path), "--sessions", "1", "--session", "test-0001"]) == 0
    assert "8 sessions listed, 1 of 8 sessions as tokens" in capsys.readouterr().out
    page = path.read_text(encoding="utf-8")
    assert re.findall(r'<a href="#session-\d+">([\w-]+)</a>', page) == ["test-0001"]
    assert main(["--config", CONFIG, *FEW, "--html", str(path), "--session", "nobody"]) == 2
    assert "no split has the session nobody; the first ones: train-0000" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == page


def rows_of(path: Path, texts: list[str]) -> list[str]:
    """Write conversations with these questions, and return the overrides that read them."""
    answer = {"role": "assistant", "content": "No."}
    rows = [{"id": f"row-{n}", "messages": [{"role": "user", "content": text}, answer]} for n, text in enumerate(texts)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    changes = ["load_module=chat_rows", f"dataset_name={path}", "sysprompt_path=null", "tools_path=null",
               "train_split=train", "eval_split=test"]  # fmt: skip
    return [word for change in changes for word in ("--set", f"data.{change}")]


def test_hostile_texts_neither_run_nor_hide_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = rows_of(tmp_path / "rows.jsonl", [HOSTILE, *(f"Question {n}?" for n in range(20))])
    path = tmp_path / "page.html"
    assert main(["--config", CONFIG, *data, "--html", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert check_lengths(text) > 40
    assert page.count("script") == 1
    assert page.count("img") == 0
    assert "‹U+202E›evil‹U+001B›[31m {{ 7 * 7 }} <|im_end|>" in "".join(page.texts)
    assert not set("\u202e\x1b") & set(text)
    capsys.readouterr()
    assert main(["--config", CONFIG, *data, "--session", "row-0"]) == 0
    shown = capsys.readouterr().out
    assert "‹U+202E›evil‹U+001B›[31m" in shown
    assert "turn 0 has the special token <|im_end|> as text" in shown


def test_rows_with_errors_are_on_the_page_with_their_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = rows_of(tmp_path / "rows.jsonl", [f"Question {n}?" for n in range(20)])
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"id": "odd", "messages": [{"role": "user", "content": 5}]}\n')
    path = tmp_path / "page.html"
    assert main(["--config", CONFIG, *data, "--html", str(path)]) == 0
    assert "1 errors in the data" in capsys.readouterr().err.replace("1 error ", "1 errors ")
    text = path.read_text(encoding="utf-8")
    assert re.search(r'<tr data-split="\w+" data-state="error">', text)
    assert text.count("rows.jsonl:21") >= 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--html", "x.html", "--row", "1"], "are for the terminal"),
        (["--sessions", "5"], "--sessions needs --html"),
        (["--session", "a", "--row", "1"], "the terminal shows one session"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--config", CONFIG, *words])
    assert reason in capsys.readouterr().err
