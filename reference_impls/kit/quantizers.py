r"""What a method offers to common machinery: its quantizers, with their bit-widths and integer form.

The machinery draws the transfer and the gradient curve from the real function, and lowers trained tensors to
integers. For every tensor,

$$ \mathrm{quantize}(x) = \mathrm{scale} \cdot \mathrm{integers} $$

holds exactly in floating point, with `scale` broadcastable to `x`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.kit.results import Curve


@dataclass(frozen=True)
class Quantizer:
    """A quantizer on offer.

    Attributes:
        name: what it quantizes: "weights", "activations", "gradients", with a qualifier where a method has several.
        bits: its width.
        quantize: tensor to tensor of the same shape, differentiable by the method's own gradient.
        to_integers: tensor to (integers as int64, scale), such that scale * integers equals quantize(x).
        low: least input of the curve.
        high: greatest input of the curve.
    """

    name: str
    bits: int
    quantize: Callable[[Tensor], Tensor]
    to_integers: Callable[[Tensor], tuple[Tensor, Tensor]]
    low: float = -1.5
    high: float = 1.5


def curve(quantizer: Quantizer, points: int = 241) -> Curve:
    """Sample value and gradient of a quantizer on an even grid over its range.

    The whole grid goes through in one call, as one tensor (one filter), so tensor-wide scales see all of it. The
    gradient is that of the sum of outputs.

    Raises:
        ValueError: if the quantizer changes the shape or returns something not finite.
    """
    x = torch.linspace(quantizer.low, quantizer.high, points).reshape(1, points).requires_grad_()
    y = quantizer.quantize(x)
    if y.shape != x.shape or not bool(torch.isfinite(y).all()):
        raise ValueError(f"{quantizer.name}: the curve is not finite or changes its shape")
    (gradient,) = torch.autograd.grad(y.sum(), x, allow_unused=True)
    slope = torch.zeros_like(x) if gradient is None else gradient
    columns = (tuple(t.detach().flatten().tolist()) for t in (x, y, slope))
    return Curve(quantizer.name, quantizer.bits, *columns)
