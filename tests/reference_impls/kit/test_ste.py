from __future__ import annotations

import numpy as np
import pytest
import torch

from reference_impls.kit.ste import round_half_up, sign, straight_through


def test_value_is_exact_and_gradient_passes_unchanged() -> None:
    x = torch.tensor([0.1, -0.7, 3.3], requires_grad=True)
    value = torch.tensor([1.0, -1.0, 1 / 3])
    y = straight_through(x, value)
    assert torch.equal(y, value)  # x + (value - x) would differ in the last bit
    (y * torch.tensor([2.0, 3.0, 5.0])).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 3.0, 5.0]


def test_slope_multiplies_the_gradient() -> None:
    x = torch.tensor([0.5, 1.5], requires_grad=True)
    straight_through(x, torch.zeros(2), torch.tensor([0.25, 0.0])).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [0.25, 0.0]


def test_no_gradient_reaches_value_or_slope() -> None:
    x, value, slope = (torch.ones(2, requires_grad=True) for _ in range(3))
    straight_through(x, value, slope).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert value.grad is None
    assert slope.grad is None


@pytest.mark.parametrize("slope", [None, torch.zeros(3)])
def test_shapes_must_agree(slope: torch.Tensor | None) -> None:
    value = torch.zeros(3) if slope is None else torch.zeros(2)
    with pytest.raises(ValueError, match=r"shapes differ: x \(2,\)"):
        straight_through(torch.zeros(2), value, slope)


def test_sign_is_never_zero_and_keeps_the_dtype() -> None:
    assert sign(torch.tensor([-0.5, -0.0, 0.0, 2.0])).tolist() == [-1.0, 1.0, 1.0, 1.0]
    assert sign(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


def test_round_half_up_against_numpy() -> None:
    x = np.arange(-20, 21) / 4
    assert np.array_equal(round_half_up(torch.tensor(x)).numpy(), np.floor(x + 0.5))
