r"""DoReFa-Net (Zhou et al. arXiv 2016): k-bit weights, activations and, by stochastic rounding, gradients.

A convolution of low-bit integers costs a few AND and popcount instructions; training profits only when gradients are
low-bit too. With $n = 2^k - 1$ (`steps`) and $\mathrm{quantize}_k(r) = \mathrm{round}(n r) / n$ (Sec. 2.2), forward:

$$ f_\omega^1(w) = \mathrm{sign}(w)\, \mathrm{E}|w| \quad (\text{Eq. 4}), \qquad
   f_\omega^k(w) = 2\,\mathrm{quantize}_k\!\left(\frac{\tanh w}{2 \max|\tanh w|} + \frac12\right) - 1
   \quad (\text{Eq. 5}) $$

$$ f_\alpha^k(x) = \mathrm{quantize}_k(\mathrm{clip}(x, 0, 1)) \quad (\text{Eq. 6}) $$

with mean and maximum over a layer. Backward, quantize_k and the sign pass gradients straight through; tanh, the
maximum and the clipping keep their own derivatives. A gradient `g` at a convolution's output then becomes (Eq. 7)

$$ f_\gamma^k(g) = 2 \max\nolimits_0|g| \left[\mathrm{quantize}_k\!\left(\frac{g}{2 \max_0|g|} + \frac12 +
   \frac{\sigma}{n}\right) - \frac12\right], \qquad \sigma \sim U(-\tfrac12, \tfrac12) $$

with the maximum taken per example and `noise` $\sigma$ drawn per element, which makes the rounding unbiased. Zero is
not on this grid: without noise every zero gradient becomes a step.

Bit kernel (Eq. 3), $c_m(x)$ being bit plane m of integers x:

$$ x \cdot y = \sum_m \sum_k 2^{m+k}\, \mathrm{popcount}(c_m(x) \wedge c_k(y)) $$

Weights are odd integers $2q - n$ times a scale, and $(2q - n) \cdot a = 2\,(q \cdot a) - n \sum a$.

Differences from the paper

1. (Sec. 2) Read in a restatement that quotes arXiv v3 and in the authors' code, not whole. The sign of 0 is +1.
2. (Sec. 2.5) Gradient plus noise is clipped to [0, 1] as in the authors' code; it matters only at exact halves.
3. (Sec. 2.7) Layers are not fused: activation, convolution, gradient quantizer, max-pooling, batch norm.
4. (Sec. 3) 8x8 digits, two quantized convolutions and Adam for 6 epochs stand for SVHN and ImageNet.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, SmallCNN
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

FULL = 32  # the paper's way to write "not quantized"


def steps(bits: int) -> int:
    r"""Return $n = 2^k - 1$, the steps of the k-bit grid on [0, 1]; ValueError if `bits` is not in 1..16."""
    if not 1 <= bits <= 16:
        raise ValueError(f"bits must lie in 1..16, got {bits}")
    return (1 << bits) - 1


def grid_integers(r: Tensor, bits: int) -> Tensor:
    """Return the integers of `quantize_k`, int64 in 0..n, for `r` in [0, 1] (Sec. 2.2)."""
    return torch.round(r * steps(bits)).to(torch.int64)


def unit_weight(w: Tensor) -> Tensor:
    r"""Return $\tanh w / (2 \max|\tanh w|) + 1/2$, in [0, 1]; 1/2 for an all-zero tensor (Eq. 5)."""
    squashed = torch.tanh(w)
    largest = squashed.abs().amax()
    return squashed / (2 * torch.where(largest > 0, largest, 1)) + 0.5


def weight_integers(w: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return odd integers in -n..n and the scale: the mean |w| for one bit, 1 / n for more (Eq. 4, 5)."""
    if bits == 1:
        return sign(w).to(torch.int64), w.abs().mean()
    return 2 * grid_integers(unit_weight(w), bits) - steps(bits), torch.tensor(1.0 / steps(bits), dtype=w.dtype)


def quantize_weight(w: Tensor, bits: int) -> Tensor:
    """Quantize a layer's weights, any shape, straight through at the rounding or the sign (Eq. 4, 5)."""
    if bits == FULL:
        return w
    integers, scale = weight_integers(w.detach(), bits)
    return straight_through(w if bits == 1 else 2 * unit_weight(w) - 1, scale * integers)


def activation_integers(x: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return integers in 0..n and the scale 1 / n (Eq. 6)."""
    return grid_integers(x.clamp(0, 1), bits), torch.tensor(1.0 / steps(bits), dtype=x.dtype)


def quantize_activation(x: Tensor, bits: int) -> Tensor:
    """Clip to [0, 1] and quantize; plain ReLU at 32 bits, as in the authors' code (Eq. 6)."""
    if bits == FULL:
        return F.relu(x)
    integers, scale = activation_integers(x.detach(), bits)
    return straight_through(x.clamp(0, 1), scale * integers)


def gradient_integers(g: Tensor, bits: int, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return odd integers and scales max|g| / n per example (Eq. 7); `noise` in [-1/2, 1/2] has the shape of `g`."""
    n = steps(bits)
    largest = g.abs().amax(dim=tuple(range(1, g.dim())), keepdim=True)  # (batch, 1, ...)
    unit = (g / (2 * torch.where(largest > 0, largest, 1)) + 0.5 + noise / n).clamp(0, 1)
    return 2 * grid_integers(unit, bits) - n, largest / n


def quantize_gradient(g: Tensor, bits: int, noise: Tensor) -> Tensor:
    """Quantize gradients of shape (batch, ...) with one scale per example (Eq. 7)."""
    integers, scale = gradient_integers(g, bits, noise)
    return scale * integers


def low_bit_gradient(x: Tensor, bits: int, *, noisy: bool = True) -> Tensor:
    """Return `x` and quantize the gradient that comes back to it; do nothing at 32 bits (Sec. 2.5)."""

    def quantized(g: Tensor) -> Tensor:
        return quantize_gradient(g, bits, torch.rand_like(g) - 0.5 if noisy else torch.zeros_like(g))

    y = x.view_as(x)
    if bits != FULL and y.requires_grad:
        y.register_hook(quantized)  # type: ignore[no-untyped-call]
    return y


class Apply(nn.Module):
    """A function of a tensor as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return self.function(x)


def bit_dot(x: NDArray[np.int64], y: NDArray[np.int64], x_bits: int, y_bits: int) -> NDArray[np.int64]:
    """Return `x @ y.T` by AND and popcount (Eq. 3); ValueError if a value does not lie in 0..2^bits - 1."""
    planes = []
    for values, bits in ((x, x_bits), (y, y_bits)):
        if values.min() < 0 or values.max() > steps(bits):
            raise ValueError(f"{bits} bits hold 0..{steps(bits)}, got {values.min()}..{values.max()}")
        planes.append([np.packbits(values >> m & 1, axis=-1) for m in range(bits)])  # per bit: (rows, bytes)
    result = np.zeros((len(x), len(y)), dtype=np.int64)
    for (m, plane), (k, other) in itertools.product(*map(enumerate, planes)):
        result += np.bitwise_count(plane[:, None] & other[None]).sum(axis=-1, dtype=np.int64) << (m + k)
    return result


def bit_convolution(x: Tensor, w: Tensor, x_bits: int, w_bits: int) -> Tensor:
    """Return a 3x3 convolution, padding 1, by the bit kernel: `x` (N, C, H, W) in 0..n, `w` (O, C, 3, 3) odd."""
    n = steps(w_bits)
    rows = F.unfold(x.double(), 3, padding=1).transpose(1, 2).flatten(0, 1).to(torch.int64).numpy()  # (N H W, C 9)
    offsets = ((w + n) // 2).flatten(1).numpy()  # (O, C 9): the integers q of w = 2 q - n
    dots = 2 * bit_dot(rows, offsets, x_bits, w_bits) - n * bit_dot(rows, np.ones_like(offsets[:1]), x_bits, 1)
    return torch.from_numpy(dots).reshape(len(x), *x.shape[2:], len(w)).permute(0, 3, 1, 2)


RECORD = "dorefa-net"
SEEDS = range(20)
EPOCHS = 6
DRAWS = 1000
# metric: bits of weights, activations, gradients; whether gradients get noise
CONFIGURATIONS: dict[str, tuple[int, int, int, bool]] = {
    "weights_2": (2, FULL, FULL, True),
    "activations_2": (FULL, 2, FULL, True),
    "gradients_2": (FULL, FULL, 2, True),
    "gradients_2_without_noise": (FULL, FULL, 2, False),
    "w1_a2_g4": (1, 2, 4, True),
    "w1_a2_g6": (1, 2, 6, True),
}


def network(weights: int, activations: int, gradients: int, noisy: bool) -> SmallCNN:
    """Return the toy network with these bit-widths in its two inner blocks."""

    def block(in_channels: int, out_channels: int) -> nn.Sequential:
        return nn.Sequential(
            Apply(partial(quantize_activation, bits=activations)),
            QuantConv2d(in_channels, out_channels, partial(quantize_weight, bits=weights)),
            Apply(partial(low_bit_gradient, bits=gradients, noisy=noisy)),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(out_channels),
        )

    return SmallCNN(block)


def kernel_mismatches(trained: SmallCNN, weights: int, activations: int, images: int = 32) -> int:
    """Count outputs of the first quantized layer on which the bit kernel and a float64 convolution disagree."""
    convolution = next(m for m in trained.modules() if isinstance(m, QuantConv2d))
    x, _ = activation_integers(trained.stem(digits().test_x[:images]), activations)
    w, _ = weight_integers(convolution.weight, weights)
    expected = F.conv2d(x.double(), w.double(), padding=1)
    return int((bit_convolution(x, w, activations, weights) != expected).sum())


def rounding_bias(seed: int, bits: int = 2) -> tuple[float, float]:
    """Return the largest error in steps of the mean over `DRAWS` even draws of the noise, and of no noise at all."""
    g = torch.randn(4, 50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    step = 2 * g.abs().amax(dim=1, keepdim=True) / steps(bits)
    draws = (torch.arange(DRAWS, dtype=torch.float64) + 0.5) / DRAWS - 0.5
    mean = sum(quantize_gradient(g, bits, draw.expand_as(g)) for draw in draws) / DRAWS
    plain = quantize_gradient(g, bits, torch.zeros_like(g))
    return float(((mean - g) / step).abs().max()), float(((plain - g) / step).abs().max())


def reproduce(seed: int) -> dict[str, float]:
    """Train every configuration on the digits; check the noise and the bit kernel."""
    metrics: dict[str, float] = {}
    for name, bits in CONFIGURATIONS.items():
        trained = train(partial(network, *bits), seed, epochs=EPOCHS)
        metrics[name] = accuracy(trained)
    assert isinstance(trained, SmallCNN)
    metrics["bit_kernel_mismatches"] = kernel_mismatches(trained, *bits[:2])
    metrics["bias_with_noise"], metrics["bias_without_noise"] = rounding_bias(seed)
    return metrics


FEW = "The toy's two quantized layers have 144 and 288 weights, too few to make up for coarse ones."
SHALLOW = "Gradients pass two quantizers here and six in the authors' AlexNet."
CLAIMS: tuple[Claim, ...] = (
    Exact("bit-kernel-is-exact", "bit_kernel_mismatches", "==", 0.0, unit="outputs"),
    Exact("gradient-rounding-unbiased", "bias_with_noise", "<=", 0.5 / DRAWS, tolerance=1e-6, unit="steps"),
    Difference("noise-is-necessary", "gradients_2", "gradients_2_without_noise"),
    Difference("activations-need-more-bits", "weights_2", "activations_2", remark=FEW),
    Difference("gradients-need-more-bits", "activations_2", "gradients_2"),
    Difference("gradient-bits-matter", "w1_a2_g6", "w1_a2_g4", remark=SHALLOW),
)

QUANTIZERS: tuple[Quantizer, ...] = (
    Quantizer("weights", 1, partial(quantize_weight, bits=1), partial(weight_integers, bits=1)),
    Quantizer("weights", 2, partial(quantize_weight, bits=2), partial(weight_integers, bits=2)),
    Quantizer("activations", 2, partial(quantize_activation, bits=2), partial(activation_integers, bits=2)),
    Quantizer(
        "gradients, noise 0",
        2,
        lambda g: straight_through(g, quantize_gradient(g.detach(), 2, 0 * g.detach()), 0 * g.detach()),
        lambda g: gradient_integers(g, 2, 0 * g),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main())
