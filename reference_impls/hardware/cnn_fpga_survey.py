r"""CNN-FPGA survey (Abdelouahab et al. arXiv 2018): how convolutions are computed on FPGAs, its dataflow part measured.

A survey has no method of its own; here are the laws that its methods rest on, each held to cycle-accurate simulation
of the kit's units. A convolution of C channels to N, K x K, onto H x W pixels is a nest of loops, its workload
$NCK^2HW$ multiplications and $NCK^2$ weights. *Unrolling* loops of sizes $d_i$ by factors $p_i$ gives $\prod p_i$
multipliers and

$$ \mathrm{cycles} = \prod_i \left\lceil \frac{d_i}{p_i} \right\rceil $$

*Tiling* by $T_N$ channels and $T \times T$ pixels (stride 1, partial sums stay on the chip) moves so many elements:

$$ D = HWN + \left\lceil \frac HT \right\rceil \left\lceil \frac WT \right\rceil \left( NCK^2 +
   \left\lceil \frac N{T_N} \right\rceil C\,(T + K - 1)^2 \right), \qquad \mathrm{CTC} = \frac{NCK^2HW}{D} $$

and with bandwidth B the *roofline* bounds multiplications a cycle: $\min(\prod p_i, \mathrm{CTC} \cdot B)$.

As a matrix product (GEMM), a convolution needs its windows side by side: *im2col* copies each pixel up to $K^2$ times.
As a *streaming dataflow*, each layer has its own hardware, a line buffer makes the windows, and all layers work at the
same time. Nothing is trained, so there is no gradient.

Differences from the paper

1. (survey) The abstract was read; what else it says is from memory, and so are section numbers. Winograd, FFT, pruning
   and the comparison of published accelerators are left out; low precision is the subject of other methods here.
2. (Sec. 5) Two layers, 8x8x1 to 6x6x4 to 4x4x8, with 3-bit weights stand for a network. The matrix product gets as many
   multipliers as the stream, in the array shape and tile that suit it best, and images back to back. Line buffers are
   rounded up to a power of two, which for images as small as these is no less than an image.
3. (Sec. 5) Bandwidth is elements a cycle of one input stream, with weights on the chip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import numpy as np
import torch
import torch.nn.functional as F

from reference_impls.fpga.gemm import SystolicArray
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.ports import IntArray, Port
from reference_impls.fpga.requantise import Requantise
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.stream import Fifo, WidthConverter
from reference_impls.fpga.window import SlidingWindow
from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main


@dataclass(frozen=True)
class Layer:
    """A convolution, `channels` those that one output sees; a fully connected layer has one pixel and kernel 1."""

    outputs: int
    channels: int
    kernel: int = 1
    height: int = 1
    width: int = 1

    @property
    def weights(self) -> int:
        """N C K K."""
        return self.outputs * self.channels * self.kernel**2

    @property
    def multiplications(self) -> int:
        """Workload: every weight at every pixel."""
        return self.weights * self.height * self.width


def unrolled_cycles(sizes: tuple[int, ...], factors: tuple[int, ...]) -> int:
    """Return the cycles of loops that are unrolled by some factors."""
    return prod(ceil(size / factor) for size, factor in zip(sizes, factors, strict=True))


def traffic(layer: Layer, outputs: int, pixels: int) -> int:
    """Return the elements that move to and from the chip with tiles of `outputs` channels, `pixels` x `pixels`."""
    tiles = ceil(layer.height / pixels) * ceil(layer.width / pixels)
    inputs = ceil(layer.outputs / outputs) * layer.channels * (pixels + layer.kernel - 1) ** 2
    return layer.height * layer.width * layer.outputs + tiles * (layer.weights + inputs)


def buffer(layer: Layer, outputs: int, pixels: int) -> int:
    """Return the elements of a tile on the chip: for one channel at a time input and filters, and all partial sums."""
    return (pixels + layer.kernel - 1) ** 2 + outputs * layer.kernel**2 + outputs * pixels**2


def best_ratio(layer: Layer, room: int) -> float:
    """Return the greatest computation-to-communication ratio of all tilings that fit into `room` elements."""
    sides, depths = range(1, max(layer.height, layer.width) + 1), range(1, layer.outputs + 1)
    fitting = (traffic(layer, n, t) for n, t in product(depths, sides) if buffer(layer, n, t) <= room)
    return layer.multiplications / min(fitting)


def attainable(multipliers: int, ratio: float, bandwidth: float) -> float:
    """Return multiplications a cycle under the roofline."""
    return min(float(multipliers), ratio * bandwidth)


def streaming(first: IntArray, second: IntArray) -> Pipeline:
    """Return two convolutions, weights (4, 9) and (8, 36), taps before channels, as a stream of 20 multipliers."""
    early = MatrixVector(first, 5, "signed", pe=4, simd=1, vectors=36)
    scale = Requantise(np.ones(4, dtype=np.int64), 3, 0, 0, 15, early.output.width, early.output.kind, 4, 36)
    late = MatrixVector(second, 4, "unsigned", pe=4, simd=4, vectors=16)
    windows = SlidingWindow(8, 8, 1, 3, 5), SlidingWindow(6, 6, 4, 3, 4, "unsigned", lanes=4)
    return Pipeline((windows[0], early, scale, windows[1], late))


def storage(pipeline: Pipeline) -> int:
    """Return the bits of all buffers of a stream: lines, FIFOs, and vectors that are used again."""
    bits = 0
    for unit in pipeline.chain:
        if isinstance(unit, SlidingWindow):
            bits += unit.buffer * unit.input.bits
        elif isinstance(unit, Fifo):
            bits += unit.depth * unit.port.bits
        elif isinstance(unit, MatrixVector):
            bits += unit.column_folds * unit.input.bits
    return bits


def arrays(cells: int, vectors: tuple[int, ...] = (4, 8, 12, 16, 18, 36)) -> Iterator[SystolicArray]:
    """Return the systolic arrays of so many cells, with some lengths of tiles."""
    for rows, length in product(range(1, cells + 1), vectors):
        if cells % rows == 0:
            yield SystolicArray(rows, cells // rows, length)


def best_array(cells: int, shapes: tuple[tuple[int, int, int], ...]) -> SystolicArray:
    """Return the array that takes the fewest cycles for matrix products (m, k) x (k, n), one after another."""
    return min(arrays(cells), key=lambda array: sum(array.tiles(*shape) for shape in shapes) * array.interval)


def as_matrix_products(pipeline: Pipeline, images: IntArray) -> tuple[IntArray, float, int]:
    """Compute the stream's layers by im2col and matrix product, on an array of as many multipliers.

    Args:
        pipeline: from `streaming`.
        images: (N, 64).

    Returns:
        outputs as the stream's, cycles an image, bits of the greatest im2col matrix.
    """
    windows, early, scale, late_windows, late = pipeline.stages
    pairs = ((windows, early), (late_windows, late))
    layers = [(window, unit) for window, unit in pairs if isinstance(unit, MatrixVector)]
    shapes = tuple((unit.vectors, unit.columns, unit.rows) for _, unit in layers)
    array = best_array(sum(unit.pe * unit.simd for _, unit in layers), shapes)
    x, cycles, bits = images, 0.0, 0
    for (window, unit), (m, k, n) in zip(layers, shapes, strict=True):
        columns = window.model(x)
        frames = np.concatenate([array.split(image.reshape(m, k), unit.weights.T) for image in columns])
        run = simulate(array, frames)
        parts = run.outputs.reshape(len(x), -1, run.outputs.shape[1])
        sums = np.stack([array.join(part, m, k, n).ravel() for part in parts])
        x = scale.model(sums) if unit is early else sums
        cycles, bits = cycles + run.interval * len(frames) / len(images), max(bits, columns[0].size * unit.width)
    return x, cycles, bits


def unrolling_error(weights: IntArray, settings: Sequence[tuple[int, int]]) -> float:
    """Return the greatest gap between simulated and predicted cycles for unrollings (outputs, inputs) of 4 pixels."""
    gaps = []
    for pe, simd in settings:
        unit = MatrixVector(weights, 4, "unsigned", pe=pe, simd=simd, vectors=4)
        run = simulate(unit, np.ones((4, unit.input.elements), dtype=np.int64))
        gaps.append(abs(run.interval - unrolled_cycles((4, *weights.shape), (1, pe, simd))))
    return max(gaps)


def throughput(weights: IntArray, pe: int, bandwidth: int) -> float:
    """Return simulated multiplications a cycle, 4 inputs at a time, when `bandwidth` elements a cycle come in."""
    unit = MatrixVector(weights, 4, "unsigned", pe=pe, simd=4)
    port = Port(4, "unsigned", bandwidth, unit.columns // bandwidth)
    stages = (unit,) if bandwidth == 4 else (WidthConverter(port, 4), unit)
    return weights.size / simulate(Pipeline(stages), np.ones((6, unit.columns), dtype=np.int64)).interval


def right_outputs(images: IntArray, first: IntArray, second: IntArray) -> IntArray:
    """Return what both ways must compute, by convolution in floating point, as (N, pixels and channels)."""
    kernels = (torch.from_numpy(w).double().reshape(len(w), 3, 3, -1).permute(0, 3, 1, 2) for w in (first, second))
    early, late = kernels
    x = F.conv2d(torch.from_numpy(images).double().reshape(-1, 1, 8, 8), early)
    y: IntArray = F.conv2d(torch.floor(x / 8 + 0.5).clamp(0, 15), late).movedim(1, -1).flatten(1).long().numpy()
    return y


RECORD = "cnn-fpga-survey"
SEEDS = range(5)
CONVOLUTIONS = (
    *(Layer(96, 3, 11, 55, 55), Layer(256, 48, 5, 27, 27), Layer(384, 256, 3, 13, 13)),
    *(Layer(384, 192, 3, 13, 13), Layer(256, 192, 3, 13, 13)),
)
CONNECTED = (Layer(4096, 9216), Layer(4096, 4096), Layer(1000, 4096))  # with those before, AlexNet in two halves
ROOM = 1 << 15  # elements


def reproduce(seed: int) -> dict[str, float]:
    """Compute two convolutions as a stream and as matrix products, and hold cycles to the laws."""
    draw = np.random.default_rng(seed)
    first, second = draw.integers(-3, 4, (4, 9)), draw.integers(-3, 4, (8, 36))
    images = torch.round(digits().test_x[:3].flatten(1) * 8).long().numpy()
    pipeline = streaming(first, second)
    run = simulate(pipeline, images)
    outputs, cycles, bits = as_matrix_products(pipeline, images)
    right = right_outputs(images, first, second)
    bounds = [(pe, width, attainable(4 * pe, 8, width)) for pe, width in product((1, 2, 4, 8), (1, 2, 4))]
    macs = [sum(layer.multiplications for layer in layers) for layers in (CONVOLUTIONS, CONNECTED)]
    weights = [sum(layer.weights for layer in layers) for layers in (CONVOLUTIONS, CONNECTED)]
    return {
        "wrong_outputs": float((run.outputs != right).sum() + (outputs != right).sum()),
        "streaming_cycles": run.interval,
        "gemm_cycles": cycles,
        "streaming_bits": float(storage(pipeline)),
        "im2col_bits": float(bits),
        "unrolling_error": unrolling_error(second, ((1, 4), (2, 6), (4, 12), (8, 36))),
        "roofline_error": max(abs(throughput(second[:, :16], pe, width) - bound) for pe, width, bound in bounds),
        "ratio_of_convolution": best_ratio(CONVOLUTIONS[1], ROOM),
        "ratio_of_fully_connected": best_ratio(CONNECTED[1], ROOM),
        "alexnet_convolution_mmacs": macs[0] / 1e6,
        "alexnet_convolution_share": 100 * macs[0] / sum(macs),
        "alexnet_connected_weights": 100 * weights[1] / sum(weights),
    }


CLAIMS: tuple[Claim, ...] = (
    Exact("same-convolution", "wrong_outputs", "==", 0.0, unit="outputs"),
    Difference("streaming-workload", "streaming_cycles", "gemm_cycles", direction="below", unit="cycles"),
    Exact("im2col-is-redundant", "streaming_bits", "<=", "im2col_bits", unit="bits"),
    Exact("unrolling", "unrolling_error", "==", 0.0, unit="cycles"),
    Exact("roofline", "roofline_error", "==", 0.0, tolerance=1e-9, unit="MAC/cycle"),
    Exact("reuse-decides", "ratio_of_fully_connected", "<=", "ratio_of_convolution", unit="MAC/element"),
    Exact("workload", "alexnet_convolution_mmacs", "==", 666.0, tolerance=0.5, unit="million MAC"),
    Exact("convolutions-compute", "alexnet_convolution_share", ">=", 90.0, unit="%"),
    Exact("connected-layers-store", "alexnet_connected_weights", ">=", 50.0, unit="%"),
)

QUANTIZERS: tuple[Quantizer, ...] = ()

if __name__ == "__main__":
    raise SystemExit(main())
