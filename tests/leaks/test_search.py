"""Sessions that are in both splits are found, also with one word changed, and different sessions are left alone."""

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.quick import ROOT
from trainer.leaks import Fingerprint, find_duplicates, find_leaks, fingerprint
from trainer.leaks.fingerprints import conversation_words
from trainer.messages import canonical_messages
from trainer.types import Message

Conversation = Sequence[Message]

TEXTS = (
    "the ferry boat leaves at noon from harbour pier two with cars bikes dogs people island storm wind",
    "die Fähre fährt täglich über Größe Straße nächste Woche früh spät Käse Übung Äpfel schön müde",
    "السلام عليكم متى تغادر العبارة إلى الجزيرة اليوم غدا صباحا مساء تذكرة سيارة",
)
ENGLISH, GERMAN, ARABIC = (text.split() for text in TEXTS)
CHINESE = list("下一班渡轮什么时候开往岛上我想订票两辆车明天早上天气很好谢谢再见请问码头在哪里")
LANGUAGES = [ENGLISH, GERMAN, ARABIC, CHINESE]


def joined(words: Sequence[str]) -> str:
    return ("" if words and words[0] in CHINESE else " ").join(words)


def conversation(rng: random.Random, n_words: int, language: Sequence[str], *, calls: bool = False) -> list[Message]:
    """A user and an assistant taking turns, about `n_words` words long."""
    messages: list[Message] = [{"role": "system", "content": f"Today is day {rng.random()}."}]
    left, number = n_words, 0
    while left > 0:
        n = min(left, rng.randint(1, 30))
        words = [f"{rng.choice(language)}{rng.randint(0, 99) if language is not CHINESE else ''}" for _ in range(n)]
        role: Any = ("user", "assistant")[number % 2]
        messages.append({"role": role, "content": joined(words)})
        left, number = left - n, number + 1
    if calls:
        function = {"name": "find_ferry", "arguments": {"to": messages[1]["content"], "day": "monday"}}
        call: Any = {"id": "c", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
    return messages


def leaks_of(train: Sequence[Conversation], evaluation: Sequence[Conversation]) -> list[tuple[str, int, int]]:
    prints: list[list[Fingerprint]] = [[fingerprint(one) for one in side] for side in (train, evaluation)]
    found = find_leaks(prints[0], prints[1], read_train=train.__getitem__, read_evaluation=evaluation.__getitem__)
    return [(leak.kind, leak.eval_index, leak.train_index) for leak in found]


def changed(rng: random.Random, messages: list[Message], *, kind: str) -> list[Message]:
    """A copy with one word replaced, added or removed in one message."""
    copy: list[Message] = json.loads(json.dumps(messages))
    turn = rng.choice([index for index, message in enumerate(copy) if index and message.get("content")])
    text = str(copy[turn].get("content"))
    words = list(text) if text[0] in CHINESE else text.split()
    at = rng.randrange(len(words))
    new = "龙" if words[0] in CHINESE else "zebra"
    words[at : at + (kind != "added")] = [] if kind == "removed" and len(words) > 1 else [new]
    copy[turn]["content"] = joined(words)
    return copy


@pytest.mark.parametrize("language", LANGUAGES, ids=["english", "german", "arabic", "chinese"])
def test_a_changed_word_never_hides_a_leak(language: Sequence[str]) -> None:
    rng = random.Random(7)
    train = [conversation(rng, n, language) for n in (5, 8, 12, 20, 40, 80, 150, 400, 1000, 5000) for _ in range(6)]
    evaluation = [changed(rng, one, kind=("replaced", "added", "removed")[i % 3]) for i, one in enumerate(train)]
    rng.shuffle(train_order := list(range(len(train))))
    found = leaks_of([train[index] for index in train_order], evaluation)
    assert {(kind, index) for kind, index, _ in found} == {("near_duplicate", index) for index in range(len(train))}
    assert all(train_order[train_index] == index for _, index, train_index in found)


def test_a_word_changed_in_the_text_and_in_the_call_is_found() -> None:
    rng = random.Random(3)
    train = [conversation(rng, n, ENGLISH, calls=True) for n in (5, 10, 20, 50) for _ in range(5)]
    evaluation = []
    for one in train:
        word = str(one[1].get("content")).split()[0]
        evaluation.append(json.loads(json.dumps(one).replace(f'"{word}', '"zebra')))
    assert [leak[0] for leak in leaks_of(train, evaluation)] == ["near_duplicate"] * len(train)


def test_the_same_content_is_found_whatever_its_system_prompt_case_and_white_space() -> None:
    rng = random.Random(5)
    train = [conversation(rng, 30, ENGLISH, calls=True) for _ in range(40)]
    evaluation = []
    for one in train[10:]:
        other: list[Any] = json.loads(json.dumps(one))
        other[0]["content"] = "Another prompt."
        other[1]["content"] = f"  {str(other[1]['content']).upper()}\n"
        other[-1]["tool_calls"][0]["id"] = "another"
        evaluation.append(other)
    assert leaks_of(train, evaluation) == [("same_content", index, index + 10) for index in range(30)]


def test_long_sessions_with_a_few_other_words_are_near() -> None:
    rng = random.Random(11)
    train = [conversation(rng, 200, ENGLISH) for _ in range(20)]
    evaluation = train
    for kind in ("replaced", "added", "replaced"):
        evaluation = [changed(rng, one, kind=kind) for one in evaluation]
    assert len(leaks_of(train, evaluation)) == 20


def template_session(rng: random.Random, number: int) -> Conversation:
    """Sessions that share their wording and differ in what people want."""
    island = rng.choice(["Texel", "Vlieland", "Ameland", "Borkum", "Juist", "Sylt", "Amrum", "Baltrum"])
    name, time = f"{rng.choice('ABCDEFGH')}{number}", f"{rng.randint(0, 23)}:{rng.randint(10, 59)}"
    return [
        {"role": "user", "content": f"Hi, {name} here. When is the next ferry to {island} after {time}?"},
        {"role": "assistant", "content": f"Hello {name}, at {rng.randint(0, 23)}:{rng.randint(10, 59)}."},
        {"role": "user", "content": rng.choice(["Book it.", "No, thank you."])},
        {"role": "assistant", "content": "All right. Have a nice day."},
    ]


def test_sessions_of_one_template_are_no_leaks() -> None:
    rng = random.Random(13)
    sessions = [template_session(rng, number) for number in range(400)]
    assert leaks_of(sessions[:300], sessions[300:]) == []


def test_the_sample_data_has_no_leak() -> None:
    train, test = (
        [canonical_messages(json.loads(line)["conversation"]) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (ROOT / "data" / "car_sales" / f"{name}.jsonl" for name in ("train", "test"))
    )
    assert len(train) > 100
    assert leaks_of(train, test) == []
    assert find_duplicates([fingerprint(one) for one in (*train, *test)]) == []


def said(words: Sequence[str]) -> list[Message]:
    return [{"role": "user", "content": joined(words)}]


def test_copies_of_another_session_hide_no_leak() -> None:
    for number in range(60):
        words = [f"word{number}x{place}" for place in range(10)]
        other, near = [*words[:8], "one", "two"], [*words[:5], "zebra", *words[6:]]
        assert leaks_of([said(other)] * 60 + [said(near)], [said(words)]) == [("near_duplicate", 0, 60)]


def test_conversations_that_cannot_be_near_are_not_read_again() -> None:
    rng = random.Random(19)
    train = [template_session(rng, number) for number in range(300)]
    own = template_session(rng, 301)
    prints = [fingerprint(one) for one in train]

    def read(index: int) -> Conversation:
        raise AssertionError(f"session {index} was read again")

    assert find_leaks(prints, [fingerprint(own)], read_train=read, read_evaluation=read) == []


def test_duplicates_are_grouped() -> None:
    rng = random.Random(17)
    one, two, three = (conversation(rng, 20, ENGLISH) for _ in range(3))
    assert find_duplicates([fingerprint(item) for item in (one, two, one, three, two, one)]) == [(0, 2, 5), (1, 4)]


def test_words_are_those_that_people_see() -> None:
    call: Any = {
        "id": "x",
        "type": "function",
        "function": {"name": "find", "arguments": {"to": ["Sylt", 3], "a": None}},
    }
    messages: list[Message] = [
        {"role": "system", "content": "hidden"},
        {"role": "user", "content": "Größe: 9:30, über 1,000?"},
        {"role": "assistant", "content": "", "reasoning_content": "Why", "tool_calls": [call]},
    ]
    words = ["grösse", "9:30", "über", "1,000", "why", "find", "a", "null", "to", "sylt", "3"]
    assert conversation_words(messages) == words


def test_a_fingerprint_is_small_and_the_same_in_every_process() -> None:
    code = (
        "from trainer.leaks import fingerprint\nprint(fingerprint([{'role': 'user', 'content': 'Fähre 渡轮 ' * 50}]))\n"
    )
    outputs = set()
    for seed in ("0", "1"):
        environment = {"PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1
    print_ = fingerprint(conversation(random.Random(1), 5000, ENGLISH))
    assert sum(sys.getsizeof(value) for value in print_) < 1000


def test_nothing_against_nothing_is_nothing() -> None:
    assert leaks_of([], []) == leaks_of([], [conversation(random.Random(1), 5, ENGLISH)]) == []
    empty: list[Message] = [{"role": "user", "content": ""}]
    assert len(leaks_of([empty], [empty])) == 1
