r"""Bitwise neural networks (Kim and Smaragdis ICML workshop 2015): weights, biases, inputs, hidden units: all are bits.

A layer is then XNOR, a count of ones and a sign. To train such a network directly is a search over bits. The paper gets
there in two stages: a real-valued network whose parameters and units are squeezed into [-1, 1], then back-propagation
through the bits themselves, started from the first stage.

Forward of the bitwise network (Sec. 2), with bipolar bits, $\otimes$ an XNOR and $\mathrm{sign}(0) = +1$:

$$ a_i = b_i + \sum_j w_{ij} \otimes z_j, \qquad z_i' = \mathrm{sign}(a_i) $$

Stage 1, weight compression (Sec. 3.1), trained by ordinary back-propagation, gradient factors
$1 - \tanh^2(\bar w)$ and $1 - \tanh^2(a)$ included:

$$ a_i = \tanh(\bar b_i) + \sum_j \tanh(\bar w_{ij})\, \bar z_j, \qquad \bar z_i' = \tanh(a_i) $$

Stage 2, noisy back-propagation (Sec. 3.2): the forward pass uses bits, and $\bar w, \bar b$ collect the gradients. A
share $\lambda$ of a layer's weights may be inactive, which sets the boundary $\beta$:

$$ w_{ij} = \mathrm{sign}(\bar w_{ij})\, 1_{|\bar w_{ij}| \ge \beta}, \qquad
   \delta_j = \sum_i w_{ij}\, \delta_i', \quad \nabla \bar w_{ij} = \sum_n \delta_i z_j, \quad
   \nabla \bar b_i = \sum_n \delta_i $$

No derivative of a squashing function is left in it: signs, of units and of weights alike, count as the identity.

Names: `boundary` $\beta$, `sparsity` $\lambda$, `COMPRESSED` stage 1, `NOISY` stage 2, `x` $z$. Formulas are those of
arXiv 1601.06071 v1 as notes on it repeat them; section numbers are from memory.

Differences from the paper

1. (Sec. 4) 8x8 digits of a bit a pixel, two hidden layers of 64 units, 6 epochs of Adam a stage; there MNIST, three
   of 1024, dropout, plain gradient steps.
2. (Sec. 2) The paper counts wrong output bits; here it is cross-entropy on the output sums over $\sqrt{64}$, the loss
   that all methods share. A class is predicted by the largest sum, not by single bits.
3. (Sec. 3.2) The share $\lambda$ that the paper uses was not found; 0 here, and 0.3 as `sparse`. Inactive weights need
   a mask, so a weight is then no single bit. Biases are never inactive.
4. (Sec. 3.2) `tanh_slope` puts the derivative of tanh back in for units: the ablation of the formula above.
5. `cnn_accuracy` is under the budget that all methods share, 4 epochs a stage, with batch norm in place of a bias.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, conv_block, identity
from reference_impls.kit.packing import pack_signs
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

WIDTHS = (64, 64, 64, 10)
EPOCHS = 6  # of each stage
SPARSITY = 0.3


def boundary(w: Tensor, sparsity: float) -> Tensor:
    r"""Return $\beta$, below which lie the magnitudes of a share `sparsity` of the weights.

    Args:
        w: real weights of a layer, any shape.
        sparsity: $\lambda$, from 0 up to but not including 1; ValueError beyond.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must lie in [0, 1), got {sparsity}")
    return w.abs().flatten().sort().values[int(sparsity * w.numel())]


def binarize(w: Tensor, sparsity: float = 0.0) -> Tensor:
    """Return the signs of a layer's weights, 0 for a share of the smallest; the gradient passes whole."""
    return straight_through(w, torch.where(w.abs() >= boundary(w, sparsity), sign(w), 0))


def binarize_unit(a: Tensor) -> Tensor:
    """Return the signs of sums, any shape; the gradient passes whole (noisy back-propagation)."""
    return straight_through(a, sign(a))


def binarize_unit_tanh(a: Tensor) -> Tensor:
    r"""Return the signs of sums with the gradient $1 - \tanh^2(a)$ of the unit that they replace."""
    return straight_through(a, sign(a), 1 - torch.tanh(a).square())


Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Stage:
    """What stands for weights, biases and units while a stage is trained and tested."""

    weight: Function
    bias: Function
    unit: Function


COMPRESSED = Stage(torch.tanh, torch.tanh, torch.tanh)
UNCOMPRESSED = Stage(identity, identity, torch.tanh)
NOISY = Stage(binarize, binarize, binarize_unit)
SPARSE = Stage(partial(binarize, sparsity=SPARSITY), binarize, binarize_unit)
TANH_SLOPE = Stage(binarize, binarize, binarize_unit_tanh)


class BitwiseLinear(nn.Linear):
    """A linear layer whose weight and bias pass the functions of a stage."""

    stage = COMPRESSED

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        return F.linear(x, self.stage.weight(self.weight), self.stage.bias(self.bias))


class Unit(nn.Module):
    """The function of a stage's hidden units."""

    stage = COMPRESSED

    def forward(self, a: Tensor) -> Tensor:
        """Any shape."""
        return self.stage.unit(a)


class Scale(nn.Module):
    """Divides output sums by the root of their number of terms, so that cross-entropy does not saturate."""

    def forward(self, a: Tensor) -> Tensor:
        """Any shape."""
        return a / math.sqrt(WIDTHS[-2])


def mlp() -> nn.Sequential:
    """Return layers of `WIDTHS` in stage 1, bits (N, 64) to logits (N, 10)."""
    parts = [part for sizes in itertools.pairwise(WIDTHS) for part in (BitwiseLinear(*sizes), Unit())]
    return nn.Sequential(*parts[:-1], Scale())


def enter(network: nn.Module, stage: Stage) -> nn.Module:
    """Put a network into a stage, its parameters kept; returns the network."""
    for part in network.modules():
        if isinstance(part, BitwiseLinear | Unit):
            part.stage = stage
        elif isinstance(part, QuantConv2d):
            part.quantizer = stage.weight
    return network


def xnor_sums(x: Tensor, w: Tensor) -> Tensor:
    r"""Return $\sum_j w_{ij} \otimes x_j$ from packed bits with XOR, AND and popcount alone.

    Args:
        x: bits -1 and +1, (N, in).
        w: weights -1, 0 and +1, (out, in).

    Returns:
        sums, (N, out): active weights less twice those whose bit differs from the input's.
    """
    active = pack_signs(np.where(w.numpy() == 0, -1, 1))  # (out, bytes), as is the next
    bits = pack_signs(np.where(w.numpy() < 0, -1, 1))
    differing = np.bitwise_count((pack_signs(x.numpy())[:, None] ^ bits) & active).sum(axis=-1, dtype=np.int64)
    return torch.from_numpy(np.bitwise_count(active).sum(axis=-1, dtype=np.int64) - 2 * differing)


def run_on_bits(network: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    """Run a network of stage 2 on packed bits: output sums (N, 10) and how many sums differ from the float form."""
    different = 0
    for layer in (part for part in network.modules() if isinstance(part, BitwiseLinear)):
        w, b = (f(p.detach()) for f, p in ((layer.stage.weight, layer.weight), (layer.stage.bias, layer.bias)))
        bits = sign(x.float())
        x = xnor_sums(bits, w) + b.to(torch.int64)  # (N, out)
        different += int((x != layer(bits)).sum())
    return x, different


def bit_digits() -> Split:
    """Return the digits with a bit a pixel, -1 and +1, (n, 64)."""
    data = digits()
    return Split(sign(data.train_x).flatten(1), data.train_y, sign(data.test_x).flatten(1), data.test_y)


RECORD = "bitwise-nn"
SEEDS = range(20)
BUDGET_BITS = "w1a1"


def reproduce(seed: int) -> dict[str, float]:
    """Train both stages, each also without the other; run the results again on packed bits."""
    data = bit_digits()

    def fit(stage: Stage, start: nn.Module | None = None, epochs: int = EPOCHS) -> nn.Module:
        build: Callable[[], nn.Module] = mlp if start is None else partial(copy.deepcopy, start)
        return train(lambda: enter(build(), stage), seed, data=data, epochs=epochs)

    compressed, uncompressed = fit(COMPRESSED), fit(UNCOMPRESSED)
    bitwise, sparse = (fit(stage, compressed) for stage in (NOISY, SPARSE))
    metrics = {
        "bitwise": accuracy(bitwise, data),
        "sparse": accuracy(sparse, data),
        "tanh_slope": accuracy(fit(TANH_SLOPE, compressed), data),
        "real_valued": accuracy(fit(COMPRESSED, epochs=2 * EPOCHS), data),
        "without_stage_one": accuracy(fit(NOISY, epochs=2 * EPOCHS), data),
        "compressed_binarized": accuracy(enter(compressed, NOISY), data),
        "uncompressed_binarized": accuracy(enter(uncompressed, NOISY), data),
    }
    sums, different = run_on_bits(bitwise, data.test_x)
    cnn = train(lambda: enter(SmallCNN(conv_block(activation=Unit)), COMPRESSED), seed, epochs=4)
    cnn = train(lambda: enter(cnn, NOISY), seed, epochs=4)
    return {
        **metrics,
        "xnor_accuracy": 100.0 * float((sums.argmax(dim=1) == data.test_y).float().mean()),
        "xnor_differences": float(different + run_on_bits(sparse, data.test_x)[1]),
        "cnn_accuracy": accuracy(cnn),
    }


NARROW = "Layers of 64 bits hold too little; the paper's have 1024 units."
SMALL = "In so short a training most weights stay small, where tanh is nearly the identity."
CLAIMS: tuple[Claim, ...] = (
    Difference("close-to-real-valued", "bitwise", "real_valued", -1.0, remark=NARROW),
    Exact("all-bitwise", "xnor_differences", "==", 0.0, unit="sums"),
    Exact("bits-keep-accuracy", "xnor_accuracy", "==", "bitwise", unit="%"),
    Difference("noisy-backpropagation-recovers", "bitwise", "compressed_binarized"),
    Difference("first-stage-helps", "bitwise", "without_stage_one"),
    Difference("compression-prepares", "compressed_binarized", "uncompressed_binarized", remark=SMALL),
)


def to_integers(w: Tensor, sparsity: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the bits, or -1, 0 and +1, as int64 and the scale 1."""
    return binarize(w, sparsity).to(torch.int64), torch.ones((), dtype=w.dtype)


QUANTIZERS = (
    Quantizer("weights", 1, binarize, to_integers),
    Quantizer("sparse weights", 2, SPARSE.weight, partial(to_integers, sparsity=SPARSITY)),
    Quantizer("activations", 1, binarize_unit, to_integers),
)

if __name__ == "__main__":
    raise SystemExit(main())
