r"""An Open Source FPGA CNN Library (Alpha Data 2017): a vendor's fixed-point convolution layers, shown on ZFNet.

Before hardware is made, a model without timing says what a choice of widths does to the results; the hardware then
computes the same numbers. A neuron multiplies integer features $x$ by integer weights $w$, starts from its bias, drops
`output_shift` bits, and clips, which makes it a ReLU:

$$ y = \min\!\Bigl(\max\!\Bigl(\Bigl\lfloor 2^{-s_o} \Bigl(2^{s_b} b + \sum_i w_i x_i \Bigr) \Bigr\rfloor,\ 0\Bigr),\
   2^{o} - 1 \Bigr) $$

Real numbers become integers by a power of two and truncation towards zero, $\mathrm{trunc}(2^f w)$. Every neuron of a
layer has multipliers of its own, $P$ of them, and a window's features reach all neurons together, so a frame takes

$$ \mathrm{cycles} = H' W' \lceil n / P \rceil, \qquad 110 \cdot 110 \cdot (147 + 1) / 4 = 447700 $$

for layer 0 of ZFNet, with $n = 7 \cdot 7 \cdot 3$ weights a neuron. The library trains nothing; the gradient of the
activations' quantizer here is the straight-through one. Names: `fraction_bits` $f$, `bias_shift` $s_b$, `output_shift`
$s_o$, `width` $o$ (and of features and weights), `parallel` $P$.

Differences from the paper

1. (application note) Its figures were known, not its text; the VHDL was read: `sim_zfnet_layer0`, `conv_neuron_par4`,
   `conv_neuron_layer`, and the layer's test bench. That the 1 in 147 + 1 fills up the last beat of 4 is inferred, since
   no cycle is spent on the bias there. The fully connected sizes are those of ZFNet with 6 x 6 x 256 inputs.
2. (VHDL) The model clips at $2^o - 1$ and is followed; the synthesizable neuron clips at $2^{o-1} - 1$.
3. (VHDL) Powers of two are as great as a layer's weights, and its features on the training images, allow; the VHDL has
   them as constants.
4. (VHDL) A toy network of two convolutions on 8x8 digits stands for ZFNet. Windows come a pixel a cycle here, so the
   whole layer is run with 4 channels; the neurons alone are run on 27 weights, one short of a whole number of beats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn

from reference_impls.fpga.dot import Multiply
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.requantise import Requantise
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.window import SlidingWindow
from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import straight_through
from reference_impls.kit.train import accuracy, train

ZFNET = ((110, 96, 7, 3), (26, 256, 5, 96), (13, 384, 3, 256), (13, 384, 3, 384), (13, 256, 3, 384))
"""Rows and columns of outputs, neurons, kernel, channels of each convolution."""
DENSE = ((4096, 9216), (4096, 4096), (1000, 4096))
PARALLEL = 4


def frame_cycles(positions: int, weights: int, parallel: int) -> int:
    """Return the cycles a frame: every position of a window takes its weights, `parallel` a cycle."""
    return positions * -(-weights // parallel)


def fraction_bits(largest: float, bits: int) -> int:
    """Return the greatest f for which 2^f times the largest number, truncated, has at most `bits` bits."""
    return bits - math.frexp(largest)[1]


def fixed(x: Tensor, fraction: int) -> Tensor:
    """Return x times 2^fraction, truncated towards zero, int64."""
    return torch.trunc(x.detach().double() * 2.0**fraction).to(torch.int64)


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution in fixed point, with a ReLU: the model without timing.

    Attributes:
        weights: (neurons, kernel, kernel, channels).
        bias: (neurons,).
        bias_shift: bits by which the bias is shifted to the left.
        output_shift: bits that the output drops.
        width: bits of an output.
    """

    weights: IntArray
    bias: IntArray
    bias_shift: int
    output_shift: int
    width: int

    def run(self, features: IntArray) -> IntArray:
        """Compute: (N, H, W, channels) to (N, H', W', neurons), without padding, stride 1."""
        size = self.weights.shape[1]
        windows = sliding_window_view(features, (size, size), axis=(1, 2))  # (N, H', W', channels, K, K)
        sums = np.einsum("nhwckl,oklc->nhwo", windows, self.weights) + (self.bias << self.bias_shift)
        clipped: IntArray = (sums >> self.output_shift).clip(0, (1 << self.width) - 1)
        return clipped


def integers_of(part: nn.Module, fraction: int, width: int) -> tuple[Tensor, Tensor, int, int]:
    """Return weights and biases of `width` bits, the bias shift and the fraction bits of sums, given the features'."""
    weight, bias = part.state_dict()["weight"], part.state_dict()["bias"]
    sums = fraction + fraction_bits(float(weight.abs().max()), width - 1)
    bias_shift = max(0, sums - fraction_bits(float(bias.abs().max()), width - 1))
    return fixed(weight, sums - fraction), fixed(bias, sums - bias_shift), bias_shift, sums


def network() -> nn.Sequential:
    """Return the toy network: two convolutions with biases and ReLUs, pooling, one linear layer."""
    convolutions = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU())
    return nn.Sequential(*convolutions, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 10))


def convert(trained: nn.Sequential, width: int) -> tuple[list[Layer], int]:
    """Return the convolutions of a trained toy network in fixed point, and the fraction bits of the last outputs."""
    x, fraction, layers = digits().train_x, fraction_bits(1.0, width - 1), []
    for part in trained:
        x = part(x).detach()
        if isinstance(part, nn.Conv2d):
            weights, bias, bias_shift, sums = integers_of(part, fraction, width)
            fraction = min(sums, fraction_bits(float(x.max()), width))
            kernels = weights.permute(0, 2, 3, 1).numpy()
            layers.append(Layer(kernels, bias.numpy(), bias_shift, sums - fraction, width))
    return layers, fraction


def hidden(layers: list[Layer], x: Tensor, width: int) -> list[IntArray]:
    """Return the signed features of images, (N, 1, 8, 8) in [-1, 1], and what follows each layer, channels last."""
    found = [fixed(x, fraction_bits(1.0, width - 1)).permute(0, 2, 3, 1).numpy()]
    for layer in layers:
        found.append(layer.run(found[-1]))
    return found


def fixed_accuracy(trained: nn.Sequential, width: int) -> float:
    """Return the test accuracy in percent, with so many bits for features, weights, biases and outputs."""
    layers, fraction = convert(trained, width)
    features = torch.from_numpy(hidden(layers, digits().test_x, width)[-1]).permute(0, 3, 1, 2)
    weights, bias, bias_shift, _ = integers_of(trained[6], fraction, width)
    logits = F.linear(F.max_pool2d(features.double(), 2).flatten(1), weights.double(), (bias << bias_shift).double())
    return 100.0 * float((logits.argmax(dim=1) == digits().test_y).float().mean())


def neurons(layer: Layer, positions: int, width: int, parallel: int = PARALLEL) -> Pipeline:
    """Return hardware for windows one after another, zeros at the end of each where `parallel` does not divide it.

    Args:
        layer: what to compute.
        positions: windows of a frame.
        width: bits of a feature, unsigned.
        parallel: multipliers of a neuron.
    """
    weights = layer.weights.reshape(len(layer.weights), -1)
    weights = np.pad(weights, ((0, 0), (0, -weights.shape[1] % parallel)))
    bias = (layer.bias << layer.bias_shift) - (1 << layer.output_shift >> 1)  # the unit after it rounds, this truncates
    dot = Multiply(width, "unsigned", layer.width)
    sums = MatrixVector(weights, width, "unsigned", len(weights), parallel, positions, bias, dot)
    ones, high = np.ones(len(weights), dtype=np.int64), (1 << layer.width) - 1
    accumulator = (sums.output.width, sums.output.kind)
    relu = Requantise(ones, layer.output_shift, 0, 0, high, *accumulator, len(weights), positions)
    return Pipeline((sums, relu))


def whole(layer: Layer, side: int, width: int, parallel: int = PARALLEL) -> Pipeline:
    """Return hardware for maps of `side` rows and columns: windows, neurons, ReLU; `parallel` divides the weights."""
    kernel, channels = layer.weights.shape[2:]
    window = SlidingWindow(side, side, channels, kernel, width, "unsigned", lanes=channels)
    return Pipeline((window, *neurons(layer, (side - kernel + 1) ** 2, width, parallel).stages))


RECORD = "zfnet-fpga-library"
SEEDS = range(5)


def reproduce(seed: int) -> dict[str, float]:
    """Try word lengths on a trained network, run its second convolution in hardware, and count ZFNet."""
    trained = train(network, seed)
    assert isinstance(trained, nn.Sequential)
    layers, _ = convert(trained, 8)
    _, features, right = hidden(layers, digits().test_x[:4], 8)
    layer = simulate(whole(layers[1], 6, 8), features.reshape(4, -1))
    random = np.random.default_rng(seed)
    short = Layer(random.integers(-128, 128, (8, 3, 3, 3)), random.integers(-128, 128, 8), 3, 8, 8)
    windows = np.pad(random.integers(0, 256, (4, 16, 27)), ((0, 0), (0, 0), (0, 1)))
    alone = simulate(neurons(short, 16, 8), windows.reshape(4, -1))
    convolution = [outputs * kernel**2 * channels for _, outputs, kernel, channels in ZFNET]
    dense = sum(rows * columns for rows, columns in DENSE)
    products = sum(side**2 * weights for (side, *_), weights in zip(ZFNET, convolution, strict=True))
    return {
        "float": accuracy(trained),
        **{f"fixed_{width}_bits": fixed_accuracy(trained, width) for width in (8, 6, 5, 4, 3)},
        "wrong_in_hardware": float((layer.outputs != right.reshape(4, -1)).sum()),
        "neuron_cycles": alone.interval,
        "neuron_cycles_by_formula": float(frame_cycles(16, 27, PARALLEL)),
        "layer_cycles": layer.interval,
        "layer_cycles_by_formula": float(frame_cycles(16, 36, PARALLEL)),
        "zfnet_cycles": float(frame_cycles(ZFNET[0][0] ** 2, 7 * 7 * 3, PARALLEL)),
        "convolution_megabytes": sum(convolution) / 1e6,
        "dense_megabytes": dense / 1e6,
        "dense_share_of_products": 100 * dense / (dense + products),
    }


CLAIMS: tuple[Claim, ...] = (
    Exact("frame-time", "zfnet_cycles", "==", 447_700.0, unit="cycles"),
    Exact("neurons-keep-the-formula", "neuron_cycles", "==", "neuron_cycles_by_formula", unit="cycles"),
    Exact("layer-keeps-the-formula", "layer_cycles", "==", "layer_cycles_by_formula", unit="cycles"),
    Exact("model-before-hardware", "wrong_in_hardware", "==", 0.0, unit="outputs"),
    Difference("eight-bits-by-default", "fixed_8_bits", "float", margin=-1.0),
    Exact("convolution-weights", "convolution_megabytes", "==", 3.7, tolerance=0.1, unit="MB"),
    Exact("dense-weights", "dense_megabytes", "==", 58.0, tolerance=1.0, unit="MB"),
    Exact("dense-products", "dense_share_of_products", "==", 5.0, tolerance=1.0, unit="%"),
)


def weight_integers(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights in 8-bit fixed point and the power of two that they are multiples of."""
    fraction = fraction_bits(float(w.detach().abs().max()), 7)
    return fixed(w, fraction), torch.tensor(2.0**-fraction, dtype=w.dtype)


def weight(w: Tensor) -> Tensor:
    """Return weights in 8-bit fixed point; no gradient passes, since the library takes trained ones."""
    integers, scale = weight_integers(w)
    return straight_through(w, scale * integers, torch.zeros_like(w))


def activation_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return activations in unsigned 8-bit fixed point and 2^-6."""
    return fixed(x, 6).clamp(0, 255), torch.tensor(2.0**-6, dtype=x.dtype)


def activation(x: Tensor) -> Tensor:
    """Return activations in unsigned 8-bit fixed point; the gradient passes inside the range."""
    integers, scale = activation_integers(x)
    return straight_through(x, scale * integers, ((x > 0) & (x < 4)).to(x.dtype))


QUANTIZERS = (
    Quantizer("weights", 8, weight, weight_integers),
    Quantizer("activations", 8, activation, activation_integers, -1.0, 4.5),
)

if __name__ == "__main__":
    raise SystemExit(main())
