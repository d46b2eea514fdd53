"""Masks drop each number on its own with the wanted probability, and the same ones whenever they are made."""

import pytest
import torch

from trainer.kernels.dropout_mask import DropoutMask

N = 3 * 2**16 + 7  # more than one part, and not whole words


def dropped(mask: DropoutMask, n: int = N) -> torch.Tensor:
    """Which of `n` numbers are dropped, bool [n]."""
    (copy,) = mask.apply(torch.ones(n))
    return copy == 0


@pytest.mark.parametrize("probability", [0.0, 0.001, 0.05, 0.3, 0.9])
def test_the_share_of_dropped_numbers_is_the_probability(probability: float) -> None:
    mask = DropoutMask.draw(probability)
    deviation = (probability * (1 - probability) / N) ** 0.5
    torch.manual_seed(0)
    shares = torch.stack([dropped(DropoutMask.draw(probability)).double().mean() for _ in range(9)])
    assert (shares - probability).abs().max() <= 4 * deviation + 2**-16
    assert mask.scale == pytest.approx(1 / (1 - probability), rel=1e-4)
    assert mask.scale == 1 / (1 - mask.n_dropped / 2**16)  # of the rounded probability: the expected value is kept


def test_a_number_is_dropped_whatever_happens_to_its_neighbours() -> None:
    """Neighbors, also across the four numbers of a word and across parts, are dropped together by chance only."""
    torch.manual_seed(1)
    one, other = (dropped(DropoutMask.draw(0.3)) for _ in range(2))
    for first, second in [(one, other), *((one[k:], one[:-k]) for k in (1, 2, 3, 4, 8, 576, 2**16))]:
        share = (first & second).double().mean()
        assert abs(share - 0.09) <= 4 * (0.09 * 0.91 / len(first)) ** 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_kept_numbers_are_unchanged_and_tensors_share_the_mask(dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    x, y = torch.randn(300, 401, dtype=dtype), torch.randn(401, 300, dtype=dtype).T
    mask = DropoutMask.draw(0.3)
    kept = ~dropped(mask, x.numel()).view(x.shape)
    copies = mask.apply(x, y)
    for copy, tensor in zip(copies, (x, y), strict=True):
        assert torch.equal(copy, tensor * kept)
    assert torch.equal(mask.apply(x)[0], copies[0])


def test_masks_follow_the_global_generator() -> None:
    masks = []
    for _ in range(2):
        torch.manual_seed(3)
        masks.append([DropoutMask.draw(0.5) for _ in range(2)])
    assert masks[0] == masks[1]
    assert masks[0][0] != masks[0][1]
