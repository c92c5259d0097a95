from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.kit.grid import Grid, affine_grid, integer_range, symmetric_grid

FLOATS = st.floats(-100, 100, width=32)


def test_integer_ranges_of_every_width() -> None:
    for bits in range(1, 33):
        low, high = integer_range(bits, signed=True)
        assert high - low == 2**bits - 1
        assert low == -(2 ** (bits - 1))
        assert integer_range(bits, signed=False) == (0, 2**bits - 1)
    assert integer_range(8, signed=True, narrow=True) == (-127, 127)


@pytest.mark.parametrize(
    ("bits", "signed", "narrow", "message"),
    [
        (0, True, False, r"bits must lie in 1\.\.32, got 0"),
        (33, False, False, r"got 33"),
        (8, False, True, "narrow"),
        (1, True, True, "narrow"),
    ],
)
def test_integer_range_refuses(bits: int, signed: bool, narrow: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        integer_range(bits, signed=signed, narrow=narrow)


def test_every_level_of_a_grid_is_a_fixed_point() -> None:
    grid = Grid(torch.tensor(0.37), torch.tensor(3.0), 0, 255)
    integers = torch.arange(256)
    values = grid.to_values(integers)
    assert torch.equal(grid.to_integers(values), integers)
    assert torch.equal(grid.quantize(values), values)


def test_quantize_against_numpy_with_halves_to_even_and_clipping() -> None:
    x = np.array([-9.0, -1.25, -0.75, -0.25, 0.0, 0.25, 0.75, 1.25, 9.0], dtype=np.float32)
    grid = Grid(torch.tensor(0.5), torch.tensor(1.0), -2, 3)
    expected = 0.5 * (np.clip(np.round(x / 0.5) + 1, -2, 3) - 1)
    assert np.array_equal(grid.quantize(torch.tensor(x)).numpy(), expected)
    assert grid.to_integers(torch.tensor(x)).dtype == torch.int64


@given(st.lists(FLOATS, min_size=1, max_size=20), st.integers(2, 8))
def test_symmetric_grid_covers_and_errs_by_half_a_step(values: list[float], bits: int) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    grid = symmetric_grid(x, bits)
    assert (grid.quantize(x) - x).abs().max() <= grid.scale / 2 + 1e-9
    assert torch.equal(grid.quantize(-x), -grid.quantize(x))


def test_symmetric_grid_per_slice() -> None:
    x = torch.tensor([[1.0, -2.0], [10.0, 5.0], [0.0, 0.0]])
    grid = symmetric_grid(x, 3, dim=(1,))
    assert grid.scale.flatten().tolist() == pytest.approx([2 / 3, 10 / 3, 1.0])


@given(FLOATS, FLOATS, st.integers(1, 8))
def test_affine_grid_holds_zero_exactly_and_spans_the_range(a: float, b: float, bits: int) -> None:
    minimum, maximum = torch.tensor(min(a, b), dtype=torch.float64), torch.tensor(max(a, b), dtype=torch.float64)
    grid = affine_grid(minimum, maximum, bits)
    assert grid.quantize(torch.zeros(1, dtype=torch.float64)).item() == 0
    if bits > 1:
        for end in (minimum, maximum):
            assert (grid.quantize(end) - end).abs() <= grid.scale + 1e-9


def test_a_grid_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="low < high, got 3 and 3"):
        Grid(torch.ones(1), torch.zeros(1), 3, 3)
    with pytest.raises(ValueError, match="scale must be positive"):
        Grid(torch.zeros(1), torch.zeros(1), 0, 3)
    with pytest.raises(ValueError, match="minimum exceeds maximum"):
        affine_grid(torch.tensor(1.0), torch.tensor(0.0), 4)
