from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.ste import sign, straight_through


def saturated(x: Tensor) -> Tensor:
    return straight_through(x, sign(x), (x.abs() <= 1).float())


def integers(x: Tensor) -> tuple[Tensor, Tensor]:
    return sign(x).to(torch.int64), torch.ones(1)


def test_curve_has_the_values_and_the_gradient_of_the_function() -> None:
    sampled = curve(Quantizer("weights", 1, saturated, integers, low=-2.0, high=2.0), points=9)
    assert sampled.x == (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
    assert sampled.y == (-1.0,) * 4 + (1.0,) * 5
    assert sampled.gradient == (0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
    assert (sampled.name, sampled.bits) == ("weights", 1)


def test_a_smooth_curve_against_finite_differences() -> None:
    sampled = curve(Quantizer("activations", 8, torch.tanh, integers), points=2001)
    slope = np.gradient(np.array(sampled.y), np.array(sampled.x))
    assert np.allclose(sampled.gradient, slope, atol=1e-2)


def test_a_quantizer_without_gradient_gets_a_flat_curve() -> None:
    sampled = curve(Quantizer("weights", 1, lambda x: sign(x.detach()) + 0 * x, integers), points=3)
    assert sampled.gradient == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("broken", [lambda x: x[:, :2], lambda x: x / 0])
def test_what_has_no_curve_is_refused(broken: object) -> None:
    with pytest.raises(ValueError, match="weights: the curve"):
        curve(Quantizer("weights", 1, broken, integers))  # type: ignore[arg-type]
