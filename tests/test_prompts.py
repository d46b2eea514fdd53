"""The system prompt: its date and time line, and the order of its sections and bullets."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from car_sales.prompt import (
    PLACEHOLDER,
    WEEKDAYS,
    build_system_prompt,
    session_datetime,
    shuffle_template,
    split_blocks,
    split_sections,
)
from trainer.errors import DataError
from trainer.util.ordering import shuffled

TEMPLATE = (Path(__file__).parent.parent / "data" / "sysprompt.md").read_text(encoding="utf-8")
LINE = re.compile(
    r"^Current DateTime \(Europe/Zurich\): (\w+) (\d{4}-\d{2}-\d{2}) (\d{2}):(\d{2}); tomorrow (\S+), (.*)$", re.M
)

words = st.text("abcXYZ äß*{}", min_size=1, max_size=12).map(str.strip).filter(bool).map("w{}".format)
bullets = st.lists(words, min_size=1, max_size=3).map(lambda lines: "- " + "\n  ".join(lines))
sections = st.tuples(words, st.lists(bullets, max_size=5)).map(lambda s: "\n".join([f"## {s[0]}", *s[1]]))
templates = st.tuples(st.lists(words, max_size=2).map("\n".join), st.lists(sections, max_size=5)).map(
    lambda parts: "\n\n".join([part for part in (parts[0], *parts[1]) if part])
)


def prompt(
    template: str = TEMPLATE,
    session_id: str = "s1",
    inferred_date: str = "2025-03-14",
    timezone: str = "Europe/Zurich",
) -> str:
    return build_system_prompt(template, session_id=session_id, inferred_date=inferred_date, timezone=timezone)


def contents(template: str) -> tuple[str, Counter[tuple[str, tuple[tuple[str, int], ...]]]]:
    """Return the preamble, and how often each section (its heading and its bullets) occurs."""
    preamble, found = split_sections(template)
    as_counts = []
    for section in found:
        heading = section.split("\n")[0]
        texts = Counter(block.text for block in split_blocks(section) if block.kind == "bullet")
        as_counts.append((heading, tuple(sorted(texts.items()))))
    return preamble, Counter(as_counts)


@given(template=templates, session_id=st.text(max_size=8))
def test_a_shuffled_prompt_holds_exactly_the_sections_and_bullets_of_its_template(
    template: str, session_id: str
) -> None:
    result = shuffle_template(template, session_id=session_id)
    assert contents(result) == contents(template)
    assert sorted(filter(None, result.split("\n"))) == sorted(filter(None, template.split("\n")))


@given(template=templates, session_id=st.text(max_size=8))
def test_the_prompt_is_the_line_and_the_shuffled_template(template: str, session_id: str) -> None:
    text = prompt(template, session_id)
    line, _, rest = text.partition("\n\n")
    assert LINE.fullmatch(line)
    assert rest == shuffle_template(template, session_id=session_id).rstrip()


def test_the_shipped_template_keeps_its_preamble_first_and_its_line_in_place() -> None:
    text = prompt()
    assert text.startswith("You are the sales assistant of Seeblick Garage.\nCurrent DateTime (Europe/Zurich): ")
    assert PLACEHOLDER not in text
    assert len(LINE.findall(text)) == 1


def test_a_template_without_placeholder_gets_the_line_on_top() -> None:
    assert LINE.match(prompt("## A\n- a"))


def test_sections_and_bullets_appear_in_every_order() -> None:
    template = "top\n\n## A\n- 1\n- 2\n- 3\n\n## B\n- 4"
    seen = {shuffle_template(template, session_id=str(n)) for n in range(100)}
    assert len(seen) == 2 * 6
    assert all(text.startswith("top\n\n## ") for text in seen)


def test_continuation_lines_stay_with_their_bullet() -> None:
    bullet = "- one\n  - nested\n\n  paragraph\nlazy"
    for n in range(20):
        assert bullet in shuffle_template(f"## A\n{bullet}\n- two\n- three", session_id=str(n))


def test_bullets_do_not_cross_a_sub_heading_or_a_paragraph() -> None:
    template = "## A\nintro\n- 1\n- 2\n\nbetween\n\n- 3\n- 4\n### Sub\n- 5\n- 6"
    for n in range(20):
        text = shuffle_template(template, session_id=str(n))
        places = [re.sub(r"\W", "", line) for line in text.split("\n") if line]
        assert [sorted(places[i : i + 2]) for i in (2, 5, 8)] == [["1", "2"], ["3", "4"], ["5", "6"]]
        assert [places[i] for i in (0, 1, 4, 7)] == ["A", "intro", "between", "Sub"]


def test_fenced_code_is_not_read_as_markdown() -> None:
    code = "- a\n  ```\n## no heading\n- no bullet\n  ```"
    for n in range(10):
        assert code in shuffle_template(f"## A\n{code}\n- b\n\n## B", session_id=str(n))


def test_windows_line_endings_change_nothing() -> None:
    assert prompt(TEMPLATE.replace("\n", "\r\n")) == prompt()


def test_the_same_id_gives_the_same_prompt_in_another_process() -> None:
    ids = [f"session-{n}" for n in range(20)]
    code = (
        "import json, sys\n"
        "from car_sales.prompt import build_system_prompt as build\n"
        "template, ids = json.load(sys.stdin)\n"
        "known = {'inferred_date': 'unknown', 'timezone': 'Europe/Zurich'}\n"
        "print(json.dumps([build(template, session_id=i, **known) for i in ids]))\n"
    )
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps([TEMPLATE, ids]),
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": "Asia/Tokyo"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == [prompt(session_id=i, inferred_date="unknown") for i in ids]


def test_different_ids_give_different_orders() -> None:
    orders = {shuffle_template(TEMPLATE, session_id=f"session-{n}") for n in range(50)}
    assert len(orders) > 40
    assert prompt(session_id="a") != prompt(session_id="b")


@given(session_id=st.text(max_size=8), day=st.dates(date(1000, 1, 1), date(9999, 12, 24)))
def test_the_line_has_the_inferred_date_and_the_following_six_days(session_id: str, day: date) -> None:
    match = LINE.search(prompt(session_id=session_id, inferred_date=day.isoformat()))
    assert match
    weekday, stated, hour, _, tomorrow, ahead = match.groups()
    assert stated == day.isoformat()
    assert weekday == WEEKDAYS[day.weekday()]
    assert 8 <= int(hour) < 20
    following = [day + timedelta(days=n) for n in range(1, 7)]
    assert tomorrow == f"{following[0]:%d.%m.}"
    assert ahead == ", ".join(f"{WEEKDAYS[d.weekday()]} {d:%d.%m.}" for d in following)


def test_the_time_of_day_depends_on_the_id_and_not_on_the_date() -> None:
    def times(ids: range, day: str) -> list[str]:
        return [f"{session_datetime(str(n), inferred_date=day, timezone='UTC'):%H:%M}" for n in ids]

    assert times(range(30), "2025-01-01") == times(range(30), "2026-07-07")
    assert len(set(times(range(30), "2025-01-01"))) > 20


def test_an_unknown_date_is_drawn_from_the_id() -> None:
    days = {session_datetime(str(n), inferred_date="unknown", timezone="UTC").date() for n in range(50)}
    assert len(days) > 40
    assert {day.year for day in days} <= {2024, 2025, 2026}


@pytest.mark.parametrize("timezone", ["Europe/Zurick", "", "../etc/passwd", "/etc/localtime", "\x00"])
def test_an_unknown_time_zone_is_refused(timezone: str) -> None:
    with pytest.raises(DataError, match=r"data\.timezone: unknown time zone .*Europe/Zurich"):
        prompt(timezone=timezone)


def test_the_line_names_the_time_zone() -> None:
    assert "Current DateTime (America/New_York): Friday 2025-03-14" in prompt(timezone="America/New_York")


@pytest.mark.parametrize(
    "inferred_date",
    ["", "Unknown", "14.03.2025", "2025-3-14", "20250314", "2025-W11-5", "2025-02-30", "9999-12-31"],
)
def test_a_malformed_date_is_refused_with_its_session(inferred_date: str) -> None:
    with pytest.raises(DataError, match=r"session 's1': inferred_date is .*YYYY-MM-DD"):
        prompt(inferred_date=inferred_date)


@given(items=st.lists(st.integers()), key=st.text())
def test_shuffling_loses_nothing_and_is_repeatable(items: list[int], key: str) -> None:
    result = shuffled(items, key=key)
    assert Counter(result) == Counter(items)
    assert result == shuffled(items, key=key)


def test_shuffling_is_even() -> None:
    firsts = Counter(shuffled(range(4), key=str(n))[0] for n in range(2000))
    assert all(430 < count < 570 for count in firsts.values())


def test_the_order_of_a_known_key_is_pinned() -> None:
    assert shuffled("abcdef", key="pinned") == tuple("acedbf")
