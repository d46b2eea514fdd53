"""A draft is what followed the last occurrence of the longest known ending."""

from hypothesis import given
from hypothesis import strategies as st

from trainer.generation.prompt_lookup import Drafter


def test_the_longest_known_ending_wins_over_a_later_shorter_one() -> None:
    assert Drafter([1, 2, 3, 7, 8, 9, 3, 6, 1, 2, 3]).propose(2) == [7, 8]


def test_the_last_of_several_equal_endings_wins() -> None:
    assert Drafter([2, 3, 7, 2, 3, 8, 2, 3]).propose(1) == [8]


def test_tokens_added_later_are_looked_up() -> None:
    drafter = Drafter([5, 6])
    assert drafter.propose(3) == []
    drafter.extend([7, 5])
    assert drafter.propose(3) == [6, 7, 5]


def test_a_repetition_continues() -> None:
    assert Drafter([9, 4, 5, 4]).propose(5) == [5, 4, 5, 4, 5]


def test_right_guesses_in_a_row_are_counted_from_the_first_added_token_on() -> None:
    drafter = Drafter([4, 5, 6, 4, 5, 6])
    assert drafter.n_right is None
    drafter.extend([4, 5])
    assert drafter.n_right == 2
    drafter.extend([9])
    assert drafter.n_right == 0
    drafter.extend([4, 5])
    assert drafter.n_right == 1  # nothing is known to follow a 9


def test_nothing_is_proposed_without_a_request_or_a_known_ending() -> None:
    assert Drafter([1, 1, 1]).propose(0) == []
    assert Drafter([1, 2, 3]).propose(4) == []
    assert Drafter([]).propose(4) == []


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 9))
def test_drafts_equal_those_of_a_simple_search(tokens: list[int], n_tokens: int) -> None:
    def searched() -> list[int]:
        for size in (3, 2, 1):
            for start in range(len(tokens) - 1, size - 1, -1):
                if tokens[start - size : start] == tokens[len(tokens) - size :]:
                    known = list(tokens)
                    while len(known) < start + n_tokens:
                        known.append(known[len(known) - len(tokens) + start])
                    return known[start : start + n_tokens]
        return []

    assert Drafter(tokens).propose(n_tokens) == searched()
