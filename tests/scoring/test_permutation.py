"""The sign-flip test finds normal differences as often as the power note of a comparison assumes."""

import numpy as np
import pytest

from trainer.scoring.permutation import errors_shown, sign_flip_p_values
from trainer.scoring.rates import FloatArray


def total(sums: FloatArray) -> FloatArray:
    return sums


@pytest.mark.parametrize("n_sessions", [6, 7, 8, 9, 10])
def test_the_smallest_difference_shown_is_found_in_four_of_five_comparisons(n_sessions: int) -> None:
    rng = np.random.default_rng(n_sessions)
    shift = errors_shown(n_sessions) / np.sqrt(n_sessions)
    found = 0
    for _ in range(1000):
        gains = rng.standard_normal(n_sessions) + shift
        counts = np.stack([np.zeros(n_sessions), gains], axis=1)[..., None]
        found += sign_flip_p_values(counts, total)[0] < 0.05
    assert found / 1000 == pytest.approx(0.8, abs=0.04)
