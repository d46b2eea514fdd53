"""stub"""

from typing import Any, NamedTuple


class Fingerprint(NamedTuple):
    content: bytes


class Leak(NamedTuple):
    kind: Any
    eval_index: int
    train_index: int


def fingerprint(messages: Any) -> Fingerprint:
    return Fingerprint(repr([m for m in messages if m["role"] != "system"]).encode())


def find_leaks(train: Any, evaluation: Any, *, read_train: Any, read_evaluation: Any) -> list[Leak]:
    known = {f.content: i for i, f in enumerate(train)}
    return [Leak("same_content", i, known[f.content]) for i, f in enumerate(evaluation) if f.content in known]


def find_duplicates(prints: Any) -> list[tuple[int, ...]]:
    return []
