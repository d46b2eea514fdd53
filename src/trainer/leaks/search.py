"""Find evaluation sessions that training has seen, word for word or nearly. Holds fingerprints, reads texts again."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.leaks.fingerprints import N_BANDS, N_BUCKETS, N_CLASSES, Fingerprint, Hashes, conversation_words, mix
from trainer.leaks.similarity import MOST_CHARACTERS, SIMILAR, is_near
from trainer.types import Message

_MOST_VERIFIED = 20
_MOST_PER_KEY = 50  # training sessions with one key: more are as like each other as the first ones

Read = Callable[[int], Sequence[Message]]


class Leak(NamedTuple):
    """An evaluation session and the training session that it is, or nearly is; both by index."""

    kind: Literal["same_content", "near_duplicate"]
    eval_index: int
    train_index: int


def find_duplicates(fingerprints: Sequence[Fingerprint]) -> list[tuple[int, ...]]:
    """Return the indexes of sessions with the same content, without regard to case and white space, in groups."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, print_ in enumerate(fingerprints):
        groups[print_.content].append(index)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def find_leaks(
    train: Sequence[Fingerprint], evaluation: Sequence[Fingerprint], *, read_train: Read, read_evaluation: Read
) -> list[Leak]:
    """Return at most one leak for each evaluation session: the same content, else the most similar one.

    Near-duplicates are those of `is_near`. One word that differs, in any number of places, changes at most two of the
    sums of a fingerprint, so such a pair always agrees in one of the keys that leave two sums out. Other pairs are
    found by bands of MinHash values: a pair with 95% of its words in common with a probability above 99%. At most 20
    candidates for a session are read and compared, the most similar word counts first.
    """
    first_with: dict[bytes, int] = {}
    for index, print_ in enumerate(train):
        first_with.setdefault(print_.content, index)
    leaks = {
        index: Leak("same_content", index, first_with[print_.content])
        for index, print_ in enumerate(evaluation)
        if print_.content in first_with
    }
    others = [index for index in range(len(evaluation)) if index not in leaks]
    if train and others:
        kept = sorted(first_with.values())  # copies of one session would crowd the others out of its keys
        candidates = _candidates([train[index] for index in kept], [evaluation[index] for index in others])
        for position, found in sorted(candidates.items()):
            index = others[position]
            match = _first_near(index, {kept[other] for other in found}, train, evaluation, read_train, read_evaluation)
            if match is not None:
                leaks[index] = Leak("near_duplicate", index, match)
    return [leaks[index] for index in sorted(leaks)]


def _first_near(
    index: int,
    candidates: set[int],
    train: Sequence[Fingerprint],
    evaluation: Sequence[Fingerprint],
    read_train: Read,
    read_evaluation: Read,
) -> int | None:
    chosen = _most_similar(evaluation[index], train, sorted(candidates))
    words = conversation_words(read_evaluation(index)) if chosen else []
    return next((other for other in chosen if is_near(words, conversation_words(read_train(other)))), None)


def _most_similar(own: Fingerprint, train: Sequence[Fingerprint], candidates: list[int]) -> list[int]:
    """Return the candidates that can be near by their word counts, the most similar first, at most 20."""
    counts = _matrix([train[other].counts for other in candidates], np.uint8, N_BUCKETS).astype(np.int8)
    differences = counts - np.frombuffer(own.counts, dtype=np.uint8).astype(np.int8)
    differences = np.abs(differences.astype(np.int16))  # counts are modulo 256, so differences wrap around
    distances = differences.sum(axis=1)
    # The counts differ by no more than the words. One word for another, in any number of places, changes two counts.
    n_words = np.array([own.n_words + train[other].n_words for other in candidates])
    unspaced = np.array([bool(own.part_sums or train[other].part_sums) for other in candidates])
    one_word = (differences > 0).sum(axis=1) <= np.where(unspaced, 2 * MOST_CHARACTERS, 2)
    possible = one_word | (distances <= (1 - SIMILAR) * n_words)
    order = np.argsort(distances, kind="stable")
    return [candidates[position] for position in order[possible[order]][:_MOST_VERIFIED]]


def _candidates(train: Sequence[Fingerprint], evaluation: Sequence[Fingerprint]) -> dict[int, set[int]]:
    """The training sessions that share a key with an evaluation session, by its index."""
    found: dict[int, set[int]] = defaultdict(set)
    for ours, theirs in zip(_keys(evaluation), _keys(train), strict=True):
        order = np.argsort(theirs, kind="stable")
        ordered = theirs[order]
        starts = np.searchsorted(ordered, ours, side="left")
        ends = np.searchsorted(ordered, ours, side="right")
        for index in np.flatnonzero((ends > starts) & (ours != 0)):
            found[int(index)].update(order[starts[index] : min(ends[index], starts[index] + _MOST_PER_KEY)].tolist())
    return found


def _keys(fingerprints: Sequence[Fingerprint]) -> Iterator[Hashes]:
    """Yield one key per session at a time, of every kind. 0 is no key."""
    bands = _matrix([print_.bands for print_ in fingerprints], np.dtype("<u8"), N_BANDS)
    yield from bands.T
    for sums, has_sums in (
        ([print_.class_sums for print_ in fingerprints], [True] * len(fingerprints)),
        (
            [print_.part_sums or bytes(8 * N_CLASSES) for print_ in fingerprints],
            [bool(print_.part_sums) for print_ in fingerprints],
        ),
    ):
        positions = mix(np.arange(N_CLASSES, dtype=np.uint64))
        terms = mix(_matrix(sums, np.dtype("<u8"), N_CLASSES) ^ positions)  # uint64 [sessions, classes]
        total = terms.sum(axis=1, dtype=np.uint64)
        for first, second in combinations(range(N_CLASSES), 2):
            yield np.where(has_sums, total - terms[:, first] - terms[:, second], np.uint64(0))


def _matrix(rows: Sequence[bytes], dtype: npt.DTypeLike, width: int) -> npt.NDArray[np.uint64]:
    return np.frombuffer(b"".join(rows), dtype=dtype).reshape(len(rows), width)
