r"""Straight-through gradients shared by several methods.

A quantizer is piecewise constant, so its derivative is zero almost everywhere. The straight-through estimator
(Bengio, Leonard, Courville 2013, arXiv 1308.3432) keeps the quantizer in the forward pass and another, useful
derivative in the backward pass. Values are exact: no `x + (q - x)` round-off reaches the forward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _StraightThrough(torch.autograd.Function):
    """Forward: the given value. Backward: the gradient goes to `x` times `slope`, none to the value."""

    @staticmethod
    def forward(ctx: Any, _x: Tensor, value: Tensor, slope: Tensor | None) -> Tensor:
        ctx.save_for_backward(slope)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return (grads[0] if slope is None else grads[0] * slope), None, None


def straight_through(x: Tensor, value: Tensor, slope: Tensor | None = None) -> Tensor:
    r"""Return `value` in the forward pass and let the gradient pass to `x`.

    $$ y = v, \qquad \frac{\partial y}{\partial x} := s \quad (\text{default } s = 1) $$

    Args:
        x: the tensor that receives the gradient, any shape.
        value: the quantized value of `x`, same shape; no gradient flows through it.
        slope: the derivative to use in place of the true one, same shape as `x`; 1 when not given.

    Raises:
        ValueError: if the shapes differ.

    >>> x = torch.tensor([0.3, 1.7], requires_grad=True)
    >>> straight_through(x, torch.round(x.detach()), (x.detach().abs() <= 1).float()).sum().backward()
    >>> x.grad
    tensor([1., 0.])
    """
    if value.shape != x.shape or (slope is not None and slope.shape != x.shape):
        raise ValueError(f"shapes differ: x {tuple(x.shape)}, value {tuple(value.shape)}")
    slope = None if slope is None else slope.detach()
    result: Tensor = _StraightThrough.apply(x, value.detach(), slope)  # type: ignore[no-untyped-call]
    return result


def sign(x: Tensor) -> Tensor:
    r"""Return +1 where $x \ge 0$ and -1 elsewhere: never 0, unlike `torch.sign`.

    >>> sign(torch.tensor([-2.0, 0.0, 0.5]))
    tensor([-1.,  1.,  1.])
    """
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def round_half_up(x: Tensor) -> Tensor:
    r"""Round to the nearest integer, halves upwards: $\lfloor x + 1/2 \rfloor$ (`torch.round` goes to even).

    >>> round_half_up(torch.tensor([-1.5, -0.5, 0.5, 1.5]))
    tensor([-1.,  0.,  1.,  2.])
    """
    return torch.floor(x + 0.5)
