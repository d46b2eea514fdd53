"""Decide whether two lists of words are nearly the same. Knows no message."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from trainer.leaks.fingerprints import is_unspaced

SIMILAR = 0.95
MOST_CHARACTERS = 12  # of a word in a script without spaces, where each character counts as a word


def is_near(words: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether at most one word differs, in any number of places, or at least 95% of the words agree.

    Similarity is twice the number of matching words over the number of all words of both (Ratcliff and Metzener 1988,
    "Pattern matching: the gestalt approach", as in `difflib`).

    >>> is_near("book the ferry on monday".split(), "book the ferry on friday".split())
    True
    >>> is_near("book the ferry on monday".split(), "book a ferry on friday".split())
    False
    """
    start, end = _common_ends(words, others)
    ours, theirs = list(words[start : len(words) - end]), list(others[start : len(others) - end])
    n_words = len(words) + len(others)
    if not ours and not theirs:
        return True
    if len(ours) == len(theirs) and len({(a, b) for a, b in zip(ours, theirs, strict=True) if a != b}) == 1:
        return True
    # The most that can match: if even that is too little, the slow comparison is not needed.
    shared = start + end + min(len(ours), len(theirs))
    can_be_similar = 2 * shared >= SIMILAR * n_words
    if not can_be_similar and abs(len(ours) - len(theirs)) > n_words / 4 and min(len(ours), len(theirs)) > 1:
        return False
    edits = [
        (tuple(ours[i:j]), tuple(theirs[k:m]))
        for tag, i, j, k, m in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()
        if tag != "equal"
    ]
    if len(set(edits)) == 1 and all(_is_one_word(side) for side in edits[0]):
        return True
    n_changed = sum(len(side) for edit in edits for side in edit)
    return n_words - n_changed >= SIMILAR * n_words


def _is_one_word(words: Sequence[str]) -> bool:
    """Whether these are one word or none; in scripts without spaces, a word is several characters."""
    return len(words) <= 1 or (len(words) <= MOST_CHARACTERS and all(map(is_unspaced, words)))


def _common_ends(words: Sequence[str], others: Sequence[str]) -> tuple[int, int]:
    """The numbers of equal words at the start and, after those, at the end."""
    most = min(len(words), len(others))
    start = next((index for index in range(most) if words[index] != others[index]), most)
    end = next((index for index in range(most - start) if words[-1 - index] != others[-1 - index]), most - start)
    return start, end
