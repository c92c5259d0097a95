r"""Batch normalization free BCNN (Yonekawa and Nakahara IPDPSW 2017): one integer bias a channel stands for batch norm.

Binary convolutions need no multiplier, but the batch norm behind each of them does, and four real parameters a channel
besides. The sign that follows lets both go, so that weights and maps of a whole network fit on-chip memory.

With $Y$ the integer sum of XNOR products and a channel's $\mu$, $\sigma$ (the root of variance plus epsilon), $\gamma$
and $\beta$, forward, for $\gamma > 0$:

$$ \mathrm{sign}\!\left(\gamma \frac{Y - \mu}{\sigma} + \beta\right)
   = \mathrm{sign}\!\left(Y + \frac{\sigma \beta}{\gamma} - \mu\right) = \mathrm{sign}(Y + B), \qquad
   B = \left\lfloor \frac{\sigma \beta}{\gamma} - \mu \right\rfloor $$

The second step holds because Y is an integer: $Y + c \ge 0$ if and only if $Y + \lfloor c \rfloor \ge 0$. A layer is
then XNOR, popcount, an addition and the sign bit of the sum. There is no gradient in the paper's part: the toy networks
are trained as BNN is, $g_x = g_{\mathrm{sign}(x)}\, 1_{|x| \le 1}$, with batch norm, which is replaced afterwards.

Names: `constant` $c$, `integer_biases` $B$; sign(0) is +1. A channel with $\gamma < 0$ falls: dividing by $\gamma$
turns the comparison round. With `invert` its weights, and so $Y$, are negated and $B = \lfloor -c \rfloor$.

Differences from the paper

1. (whole text) It was not to be had, so sections cannot be cited: the formula is that of the second author's tool
   GUINNESS, which names this paper for its optimizations (conv_npz2txt_v2.py, template_cpp_r7_bcnn.cpp), and of a
   stranger's reimplementation, which rounds to the nearest integer and so is not exact.
2. (bias) GUINNESS inverts nothing where $\gamma < 0$, and leaves epsilon out of $\sigma$; both are done here.
3. (convolution) GUINNESS skips pixels beyond the border; here convolutions do not pad. Digits enter black and white.
4. (network) 8x8 digits and two convolutions for VGG-16. Batch norm in hardware, for comparison, multiplies by 16 bits
   and compares with a constant, which is less than the addition it needs.
5. (results) Cells are counted by Yosys for ECP5, without multiplier blocks; speed on boards is not measured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import product
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.network import KERNEL, Activation, Layer, Network
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.requantise import Requantise, fixed_point
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.synthesis import synthesise
from reference_impls.fpga.threshold import Threshold
from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
Reals = NDArray[np.float64]
Rounding = Callable[[Reals], Reals]
FRACTION = 8  # bits behind the point of batch norm's value in hardware


def constant(norm: BatchNorm) -> tuple[Reals, NDArray[np.bool_]]:
    r"""Return $c = \sigma \beta / \gamma - \mu$ and whether $\gamma < 0$, both (C,); ValueError where $\gamma = 0$."""
    parts = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, variance, gamma, beta = (cast("Tensor", part).detach().double().numpy() for part in parts)
    if (gamma == 0).any():
        raise ValueError(f"channel {int(np.argmax(gamma == 0))} has batch norm scale 0: it is a constant")
    return np.sqrt(variance + norm.eps) * beta / gamma - mean, gamma < 0


def integer_biases(
    norm: BatchNorm, rounding: Rounding = np.floor, *, invert: bool = True
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return B, and the channels whose weights are to be inverted, both (C,)."""
    c, falls = constant(norm)
    inverted = falls & invert
    return rounding(np.where(inverted, -c, c)).astype(np.int64), inverted


def sign_bits(sums: NDArray[Any], norm: BatchNorm, rounding: Rounding = np.floor, *, invert: bool = True) -> Any:
    """Return sign(Y + B) of sums (N, C, ...), true for +1."""
    biases, inverted = (
        part.reshape(-1, *(1,) * (sums.ndim - 2)) for part in integer_biases(norm, rounding, invert=invert)
    )
    return np.where(inverted, -sums, sums) + biases >= 0


def differences(network: Network, rounding: Rounding = np.floor, *, invert: bool = True) -> int:
    """Count the sums, all that can be in all channels, whose sign bit is not torch's batch norm and sign."""
    wrong = 0
    for layer, norm in zip(network.linear(), cast("list[BatchNorm]", network.norms), strict=False):
        inputs = layer.weight[0].numel()
        sums = torch.arange(-inputs, inputs + 1, 2).double()[:, None, None, None].expand(-1, norm.num_features, 1, 1)
        with torch.no_grad():
            expected = (norm(sums) >= 0).numpy()
        wrong += int((sign_bits(sums.numpy(), norm, rounding, invert=invert) != expected).sum())
    return wrong


def integer_logits(network: Network, x: Tensor) -> Tensor:
    """Run the network without its batch norms: images of -1 and +1, (N, 1, 8, 8), to (N, 10)."""
    for layer, norm, pool in zip(network.linear()[:-1], network.norms, network.pools, strict=True):
        sums = F.max_pool2d(layer.accumulate(x), pool)
        x = torch.from_numpy(np.where(sign_bits(sums.detach().numpy(), cast("BatchNorm", norm)), 1.0, -1.0))
    return network.linear()[-1].accumulate(x.permute(0, 2, 3, 1).flatten(1))


def layer_with_bias(weights: IntArray, biases: IntArray, pe: int, simd: int) -> Pipeline:
    """Return the paper's layer: (inputs) of -1 and +1 to (rows) of the same, the bias in the sum, then its sign bit."""
    unit = MatrixVector(weights, 1, "bipolar", pe, simd, bias=biases)
    zeros = np.zeros((unit.rows, 1), dtype=np.int64)
    return Pipeline((unit, Threshold(zeros, (-1, 1), unit.output.width, unit.output.kind, lanes=pe)))


def layer_with_batch_norm(weights: IntArray, slopes: Reals, offsets: Reals, pe: int, simd: int) -> Pipeline:
    r"""Return the layer with batch norm, slope * Y + offset, to 16 bits of which `FRACTION` are behind the point."""
    unit = MatrixVector(weights, 1, "bipolar", pe, simd)
    multipliers, shift = fixed_point(list(slopes * 2.0**FRACTION))
    scaled = Requantise(multipliers, shift, 0, -(1 << 15), (1 << 15) - 1, unit.output.width, unit.output.kind, pe)
    limits = np.ceil(-offsets * 2.0**FRACTION).astype(np.int64)[:, None]
    return Pipeline((unit, scaled, Threshold(limits, (-1, 1), 16, lanes=pe)))


@cache
def layer_luts() -> tuple[int, int]:
    """Return the LUT positions of a layer of 16 channels and 72 inputs: with an integer bias, and with batch norm."""
    random = np.random.default_rng(0)
    weights = random.choice(np.array([-1, 1]), (16, 72))
    slopes, offsets = random.uniform(0.1, 0.3, 16), random.normal(0, 1, 16)
    free = layer_with_bias(weights, np.floor(offsets / slopes).astype(np.int64), 4, 8)
    full = layer_with_batch_norm(weights, slopes, offsets, 4, 8)
    return synthesise(free, dsp=False).logic, synthesise(full, dsp=False).logic


def binarize(x: Tensor) -> Tensor:
    r"""Return the signs of activations; the gradient passes where $|x| \le 1$."""
    return straight_through(x, sign(x), (x.abs() <= 1).to(x.dtype))


def to_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1."""
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


WEIGHTS = Quantizer("weights", 1, lambda w: straight_through(w, sign(w)), to_integers)
ACTIVATIONS = Quantizer("activations", 1, binarize, to_integers)
QUANTIZERS = (WEIGHTS, ACTIVATIONS)


def black_and_white() -> Split:
    """Return the digits with pixels -1 and +1."""
    whole = digits()
    return Split(sign(whole.train_x), whole.train_y, sign(whole.test_x), whole.test_y)


def toy_network(least: float = 1.0) -> Network:
    """Return a network of two convolutions and a linear layer, all binary; batch norm scales start in least..1."""
    shapes: list[tuple[int, ...]] = [(8, 1, KERNEL, KERNEL), (16, 8, KERNEL, KERNEL), (10, 64)]
    layers = [Layer(shape, WEIGHTS, 1.0, bias=n == 2) for n, shape in enumerate(shapes)]
    network = Network(layers, [1, 2], Activation(ACTIVATIONS))
    for norm in network.norms:
        nn.init.uniform_(cast("Tensor", norm.weight), least, 1)
    return network


def window_differences(network: Network) -> int:
    """Count outputs of the first layer in simulation that are not torch's, over all 512 windows that there are."""
    layer, norm = network.linear()[0], cast("BatchNorm", network.norms[0])
    windows = np.array(list(product((-1, 1), repeat=KERNEL * KERNEL)))
    biases, inverted = integer_biases(norm)
    weights = layer.integers()[0].flatten(1).numpy()
    hardware = layer_with_bias(np.where(inverted[:, None], -weights, weights), biases, len(weights), KERNEL * KERNEL)
    with torch.no_grad():
        expected = norm(layer(torch.from_numpy(windows).double().reshape(-1, 1, KERNEL, KERNEL))) >= 0
    return int(((simulate(hardware, windows).outputs > 0) != expected.flatten(1).numpy()).sum())


RECORD = "onchip-bcnn-fpga"
SEEDS = range(5)


def reproduce(seed: int) -> dict[str, float]:
    """Train with batch norm, put integer biases in its place, and compare."""
    data = black_and_white()
    rising, mixed = (
        cast("Network", train(partial(toy_network, least), seed, data=data).double()) for least in (1.0, -1.0)
    )
    test = Split(data.train_x.double(), data.train_y, data.test_x.double(), data.test_y)
    hits = integer_logits(rising, test.test_x).argmax(dim=1) == test.test_y
    bias_luts, batch_norm_luts = layer_luts()
    return {
        "batch_norm_accuracy": accuracy(rising, test),
        "integer_bias_accuracy": 100.0 * float(hits.float().mean()),
        "differences": float(differences(rising, invert=False)),
        "differences_when_rounded": float(differences(rising, np.rint, invert=False)),
        "window_differences": float(window_differences(rising)),
        "falling_differences": float(differences(mixed, invert=False)),
        "inverted_differences": float(differences(mixed)),
        "integer_bias_luts": float(bias_luts),
        "batch_norm_luts": float(batch_norm_luts),
    }


CLAIMS: tuple[Claim, ...] = (
    Exact("integer-bias-equals-batch-norm", "differences", "==", 0.0, unit="sums"),
    Exact("a-sum-and-its-sign-bit", "window_differences", "==", 0.0, unit="outputs"),
    Exact("accuracy-is-kept", "integer_bias_accuracy", "==", "batch_norm_accuracy", unit="%"),
    Difference("rounded-down", "differences_when_rounded", "differences", unit="sums"),
    Difference("scales-are-positive", "falling_differences", "inverted_differences", unit="sums"),
    Difference("batch-norm-is-extra-hardware", "batch_norm_luts", "integer_bias_luts", unit="LUTs"),
)

if __name__ == "__main__":
    raise SystemExit(main())
