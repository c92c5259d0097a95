r"""ABC-Net (Lin et al. NeurIPS 2017): several binary bases for the weights and several for the activations of a layer.

One sign per number keeps which side of a threshold it lies on and loses how far. Several signs with several thresholds
keep magnitude step by step, and a convolution is still XNOR and popcount, only more of them, which can run in parallel.

Weights (Sec. 3.1), all $n$ of a layer together, with $\bar W = W - \mathrm{mean}(W)$ and `count` $M$ bases:

$$ W \approx \sum_{m=1}^M \alpha_m B_m, \qquad B_m = \mathrm{sign}\big(\bar W + u_m\, \mathrm{std}(W)\big), \qquad
   u_m = -1 + 2\,\frac{m - 1}{M - 1}, \qquad \alpha = \arg\min_a \Big\|W - \sum_m a_m B_m\Big\|^2 $$

Activations (Sec. 3.2), $R$ being the output of batch norm, with `shift` $v_n$ and `scale` $\beta_n$ trained:

$$ h_v(x) = \mathrm{clip}(x + v, 0, 1), \qquad A_n = 2 \cdot 1_{h_{v_n}(R) \ge 1/2} - 1, \qquad
   R \approx \sum_{n=1}^N \beta_n A_n $$

$$ \mathrm{Conv}(W, R) \approx \sum_m \sum_n \alpha_m \beta_n\, \mathrm{Conv}(B_m, A_n) $$

Gradients (Sec. 3.3): signs of weights are straight-through, so latent weights get $\sum_m \alpha_m g_m$, with $g_m$ the
gradient at the filters of the m-th binary convolution. All see the same input, so $g_W = g \sum_m \alpha_m$. An
activation passes $g_{A_n} 1_{0 \le R + v_n \le 1}$ to $R$ and to $v_n$; $\beta_n$ has its ordinary derivative. Pooling
stands before batch norm and activation.

Differences from the paper

1. (Sec. 4) 8x8 digits, two quantized convolutions of width 4, 8 epochs of Adam from a random start; there ImageNet and
   forest trails with ResNets. First and last layer stay real. The formulas were read in a third party's notebook and
   in a textbook, not in the paper; section numbers are those of arXiv 1711.11294, equation numbers are left out.
2. (Sec. 3.1) $u$ is undefined for one base; here it is 0. `std` divides by $n$. Where two bases coincide the scales are
   the least-squares solution of least norm.
3. (Sec. 3.2) The first values of $v$ and $\beta$ are not in the sources read. Here $v_n$ starts where $u_n$ does, so
   that the unit ramps of three bases tile [-1, 2], and $\beta_n = 1 / N$; equal starts would never part.
4. (Sec. 4) "Close to full precision" is read as within 5 points, about what ResNet-18 loses with 5 and 5 bases.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, conv_block
from reference_impls.kit.packing import pack_signs, xnor_dot
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

EPOCHS = 8
BUDGET_BITS = "w3a3"


def spread(count: int) -> Tensor:
    r"""Return the shifts $u$ (Sec. 3.1): `count` even steps from -1 to 1, or 0 alone; ValueError below 1."""
    if count < 1:
        raise ValueError(f"at least one base is needed, got {count}")
    return torch.linspace(-1, 1, count) if count > 1 else torch.zeros(1)


def weight_bases(W: Tensor, count: int) -> Tensor:
    """Return the signs B of shifted weights (Sec. 3.1): any shape to (count, *shape)."""
    shifts = spread(count).to(W.dtype).reshape(-1, *(1,) * W.dim())  # (count, 1, ...)
    return sign(W - W.mean() + shifts * W.std(correction=0))


def least_squares_scales(W: Tensor, bases: Tensor) -> Tensor:
    r"""Return $\alpha$, (count,), that brings the sum of scaled bases (count, *shape) closest to `W` (Sec. 3.1)."""
    columns = bases.flatten(1).T  # (n, count)
    return cast("Tensor", torch.linalg.lstsq(columns, W.reshape(-1, 1), driver="gelsd").solution[:, 0])


def greedy_scales(W: Tensor, bases: Tensor) -> Tensor:
    """Return scales fitted one after another, each to what the bases before it left over: (count,)."""
    scales = torch.zeros(len(bases), dtype=W.dtype)
    for m, base in enumerate(bases):
        scales[m] = ((W - combine(scales, bases)) * base).mean()
    return scales


def combine(scales: Tensor, bases: Tensor) -> Tensor:
    """Return the sum of scaled bases: (count,) and (count, *shape) to the shape."""
    return cast("Tensor", torch.tensordot(scales, bases, dims=1))


def approximate_weight(W: Tensor, count: int) -> Tensor:
    r"""Return $\sum_m \alpha_m B_m$ in the shape of `W`; the gradient is that of the sum times $\sum_m \alpha_m$."""
    bases = weight_bases(W.detach(), count)
    alpha = least_squares_scales(W.detach(), bases)
    return straight_through(W, combine(alpha, bases), alpha.sum().expand_as(W))


def bounded_slope(x: Tensor) -> Tensor:
    r"""Return the derivative of $\mathrm{clip}(x, 0, 1)$: 1 where $0 \le x \le 1$, bounds included, 0 elsewhere."""
    return ((x >= 0) & (x <= 1)).to(x.dtype)


def activation_bases(x: Tensor, shift: Tensor) -> Tensor:
    """Return the signs A (Sec. 3.2), gradient to both: any shape and shifts (count,) to (count, *shape)."""
    shifted = x + shift.reshape(-1, *(1,) * x.dim())  # (count, *shape)
    return straight_through(shifted, sign(shifted.clamp(0, 1) - 0.5), bounded_slope(shifted))


class BinaryActivations(nn.Module):
    r"""The layer $\sum_n \beta_n A_n$; its shifts and scales are trained unless told otherwise."""

    def __init__(self, count: int, *, learned: bool = True) -> None:
        super().__init__()
        self.shift = nn.Parameter(spread(count), requires_grad=learned)
        self.scale = nn.Parameter(torch.full((count,), 1 / count), requires_grad=learned)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return combine(self.scale, activation_bases(x, self.shift))


def bitwise_convolution(x: Tensor, W: Tensor, count: int, shift: Tensor, scale: Tensor) -> Tensor:
    """Convolve by XNOR and popcount, a pair of bases at a time, without padding (Sec. 3.2).

    Takes (N, c, H, H), latent weights (out, c, 3, 3), the number of weight bases, and shifts and scales of activation
    bases; returns the weighted sum of the integer products, (N, out, H - 2, H - 2).
    """
    bases = weight_bases(W, count)
    alpha, maps, side = least_squares_scales(W, bases), activation_bases(x, shift), x.shape[2] - 2
    total = torch.zeros(len(x) * side * side, len(W))
    for (a, base), (b, signs) in itertools.product(zip(alpha, bases, strict=True), zip(scale, maps, strict=True)):
        windows = F.unfold(signs, 3).transpose(1, 2).flatten(0, 1)  # (N side^2, 9 c)
        filters = base.flatten(1)  # (out, 9 c)
        dots = xnor_dot(pack_signs(windows.numpy()), pack_signs(filters.numpy()), filters.shape[1])
        total += a * b * torch.from_numpy(dots)
    return total.reshape(len(x), side, side, len(W)).permute(0, 3, 1, 2)


def relative_error(W: Tensor, approximation: Tensor) -> float:
    r"""Return $\|W - \hat W\|^2$ in percent of $\|W\|^2$."""
    return 100 * float((W - approximation).square().sum() / W.square().sum())


def searched_error(W: Tensor, bases: Tensor, steps: int = 60) -> float:
    """Return the least relative error in percent over a grid of scales between minus and plus the largest weight."""
    columns = bases.flatten(1).T.double().numpy()  # (n, count)
    values = W.flatten().double().numpy()
    line = np.linspace(-1, 1, steps + 1) * np.abs(values).max()
    grid = np.stack(np.meshgrid(*[line] * len(bases)), axis=-1).reshape(-1, len(bases))  # ((steps + 1)^count, count)
    quadratic = ((grid @ (columns.T @ columns)) * grid).sum(axis=1) - 2 * grid @ (columns.T @ values)
    return float(100 * (1 + quadratic.min() / (values @ values)))


RECORD = "abc-net"
SEEDS = range(8)  # six convolutional networks a seed, with up to 25 pairs of bases


def network(weights: int, activations: int, *, learned: bool = True) -> SmallCNN:
    """Return the toy network with this many bases in its two inner blocks."""
    weight = partial(approximate_weight, count=weights)
    return SmallCNN(conv_block(weight, lambda: BinaryActivations(activations, learned=learned)))


def variants() -> dict[str, Callable[[], SmallCNN]]:
    """Return what builds each network, by metric; the numbers are those of weight and activation bases."""
    bases = {f"bases_{m}_{n}": partial(network, m, n) for m, n in ((1, 1), (3, 1), (3, 3), (5, 5))}
    fixed = partial(network, 3, 3, learned=False)
    return {**bases, "fixed_activations": fixed, "full_precision": lambda: SmallCNN(conv_block())}


def first_block(trained: SmallCNN) -> tuple[BinaryActivations, QuantConv2d]:
    """Return activation and convolution of the first quantized block."""
    activation, conv, *_ = cast("nn.Sequential", trained.blocks[0])
    return cast("BinaryActivations", activation), cast("QuantConv2d", conv)


def bitwise_gap(trained: SmallCNN, images: int = 64) -> float:
    """Return how far bitwise and real-valued convolution with three bases differ, over the greatest value."""
    act, conv = first_block(trained)
    with torch.no_grad():
        x = trained.stem(digits().test_x[:images])
        expected = F.conv2d(act(x), conv.quantizer(conv.weight))
        gap = bitwise_convolution(x, conv.weight, 3, act.shift, act.scale) - expected
    return float(gap.abs().max() / expected.abs().max())


def weight_errors(W: Tensor) -> dict[str, float]:
    """Return relative errors in percent of approximations to the weights of a layer."""
    bases = weight_bases(W, 3)
    return {
        **{f"error_{count}": relative_error(W, approximate_weight(W, count)) for count in (1, 3, 5)},
        "greedy_error_3": relative_error(W, combine(greedy_scales(W, bases), bases)),
        "searched_error_3": searched_error(W, bases),
    }


def reproduce(seed: int) -> dict[str, float]:
    """Train all variants on the digits; fit bases to the weights of the full-precision network."""
    networks = {name: cast("SmallCNN", train(build, seed, epochs=EPOCHS)) for name, build in variants().items()}
    scores = {name: accuracy(trained) for name, trained in networks.items()}
    own = {"cnn_accuracy": scores["bases_3_3"], "bitwise_gap": bitwise_gap(networks["bases_3_3"])}
    return {**scores, **own, **weight_errors(first_block(networks["full_precision"])[1].weight.detach())}


LEARNED = "Batch norm on either side leaves little to adapt to: fixed, evenly spread shifts do nearly as well."
CLAIMS: tuple[Claim, ...] = (
    Exact("least-squares-scales", "error_3", "<=", "searched_error_3", tolerance=1e-4, unit="%"),
    Difference("least-squares-beats-greedy", "error_3", "greedy_error_3", direction="below", unit="%"),
    Difference("three-bases-approximate-better", "error_3", "error_1", direction="below", unit="%"),
    Difference("five-bases-approximate-better", "error_5", "error_3", direction="below", unit="%"),
    Exact("bitwise-convolutions", "bitwise_gap", "<=", 0.0, tolerance=1e-5),
    Difference("more-weight-bases-help", "bases_3_1", "bases_1_1"),
    Difference("more-activation-bases-help", "bases_3_3", "bases_3_1"),
    Difference("more-bases-help", "bases_5_5", "bases_3_3"),
    Difference("learned-activations-help", "bases_3_3", "fixed_activations", remark=LEARNED),
    Difference("close-to-full-precision", "bases_5_5", "full_precision", -5.0),
)


def base_integers(W: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """Return the signs of one of three weight bases as int64, and its scale."""
    bases = weight_bases(W, 3)
    return bases[index].to(torch.int64), least_squares_scales(W, bases)[index]


def weight_term(W: Tensor, index: int) -> Tensor:
    r"""Return one of the three terms $\alpha_m B_m$ of `approximate_weight`, with its part of the gradient."""
    integers, alpha = base_integers(W.detach(), index)
    return straight_through(W, alpha * integers, alpha.expand_as(W))


def start_activation(x: Tensor) -> Tensor:
    """Return what `BinaryActivations(3)` does before training: the sum of three bases, over 3."""
    return torch.tensor(1 / 3) * activation_bases(x, spread(3)).sum(dim=0)


def start_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return that sum, -3, -1, 1 or 3, as int64, and the scale 1/3."""
    return activation_bases(x, spread(3)).sum(dim=0).to(torch.int64), torch.tensor(1 / 3)


TERMS = (
    (f"weights, base {m + 1}", 1, partial(weight_term, index=m), partial(base_integers, index=m)) for m in range(3)
)
START = Quantizer("activations, three bases as training starts", 2, start_activation, start_integers, -2.5, 2.5)
QUANTIZERS = (*(Quantizer(*term) for term in TERMS), START)

if __name__ == "__main__":
    raise SystemExit(main())
