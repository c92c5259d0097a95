r"""From a trained network to a pipeline of units: scales, batch norm and quantizer become integer thresholds.

Between two layers stands a monotone function from the accumulator to the next integer activation,

$$ f_c(a) = \mathrm{quantize}\bigl(\mathrm{BN}_c(s_c\,a)\bigr), \qquad t_{c,k} = \min\{a : f_c(a) \ge v_k\} $$

The thresholds are found by putting accumulators through torch's own batch norm and the method's own quantizer until the
very integer is known at which the activation changes: nothing is rounded, a negative batch norm scale gives a channel
that falls, and a function that is not monotone is refused. (Umuroglu et al., FINN, FPGA 2017, Sec. 4.2.2, has the
closed form for one threshold.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_impls.fpga.argmax import Argmax
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.network import INPUT_SCALE, KERNEL, CannotLowerError, Layer, Network
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.pool import MaxPool
from reference_impls.fpga.ports import IntArray, Stage, smallest
from reference_impls.fpga.threshold import Threshold
from reference_impls.fpga.window import SlidingWindow

IMAGE = 8  # pixels of a side
INPUT = (-8, 8)  # range of an input pixel
CHECKED = 1 << 14  # accumulators of a channel at which thresholds are held against the function
CHUNK = 1 << 20  # accumulators evaluated at once


@dataclass(frozen=True, eq=False)
class Steps:
    """A monotone function of an integer, channel by channel.

    Attributes:
        thresholds: (channels, levels), ascending: where the next value is reached (or, where the channel falls, left).
        falls: (channels,), whether the function falls.
        values: levels + 1 ascending integers.
    """

    thresholds: IntArray
    falls: NDArray[np.bool_]
    values: tuple[int, ...]

    def at(self, accumulators: IntArray) -> IntArray:
        """Return the function at some accumulators, (n,) to (channels, n)."""
        passed = np.stack([np.searchsorted(row, accumulators, side="right") for row in self.thresholds])
        level = np.where(self.falls[:, None], self.thresholds.shape[1] - passed, passed)
        return np.array(self.values)[level]


def steps_of(
    function: Callable[[IntArray], IntArray], channels: int, low: int, high: int, values: Sequence[int]
) -> Steps:
    """Find the thresholds of a monotone function of integers by bisection on the function itself.

    Whether thresholds repeat the function is then checked: at every integer in low..high, or at `CHECKED` evenly spaced
    ones where there are more.

    Args:
        function: (channels, n) accumulators to (channels, n) integers.
        channels: rows.
        low: least accumulator.
        high: greatest accumulator.
        values: integers that the function can return, ascending.

    Raises:
        CannotLowerError: if the function is not monotone in a channel, or returns something else.
    """
    ends = function(np.tile(np.array([low, high]), (channels, 1)))  # (channels, 2)
    falls = ends[:, 1] < ends[:, 0]
    targets = np.array(values[1:])
    left = np.full((channels, len(targets)), low)  # the threshold lies in left..right
    right = np.full_like(left, high + 1)
    for _ in range((high + 1 - low).bit_length() + 1):
        middle = (left + right) // 2
        passed = (function(np.minimum(middle, high)) >= targets) ^ falls[:, None] | (middle > high)
        left, right = np.where(passed, left, np.minimum(middle + 1, right)), np.where(passed, middle, right)
    steps = Steps(np.sort(left, axis=1), falls, tuple(values))
    points = np.unique(np.linspace(low, high, min(high - low + 1, CHECKED)).round().astype(np.int64))
    size = max(1, CHUNK // channels)
    for chunk in (points[start : start + size] for start in range(0, len(points), size)):
        wrong = (function(np.tile(chunk, (channels, 1))) != steps.at(chunk)).any(axis=1)
        if wrong.any():
            raise CannotLowerError(f"channel {int(np.argmax(wrong))} is no monotone function of the accumulator")
    return steps


def between(layer: Layer, norm: nn.Module, network: Network) -> Callable[[IntArray], IntArray]:
    """Return the function from a layer's accumulators, (channels, n), to the next integer activations."""
    _, scale = layer.integers()
    quantizer = network.activation.quantizer

    def function(accumulators: IntArray) -> IntArray:
        with torch.no_grad():
            y = torch.from_numpy(np.ascontiguousarray(accumulators.T)).to(scale.dtype) * scale  # (n, channels)
            image = y if layer.weight.dim() == 2 else y[:, :, None, None]
            found: NDArray[np.int64] = quantizer.to_integers(norm(image))[0].reshape(y.shape).numpy()
        return np.ascontiguousarray(found.T)

    return function


def levels_of(network: Network) -> tuple[int, ...]:
    """Return the integers that the activation quantizer gives on a fine grid from -16 to 16, ascending.

    Raises:
        CannotLowerError: if there is only one.
    """
    grid = torch.linspace(-16, 16, 16385, dtype=torch.float64)
    found = torch.unique(network.activation.quantizer.to_integers(grid)[0]).tolist()
    if len(found) < 2:
        raise CannotLowerError(f"every activation is {found[0]}: nothing is left to compute")
    return tuple(found)


def fold(rows: int, columns: int, vectors: int, interval: int, group: int = 1) -> tuple[int, int]:
    """Return the smallest PE and SIMD that meet an interval: FINN's folding to a target rate.

    Of the foldings with the fewest multipliers (PE x SIMD) the squarest is taken: neither a deep adder tree nor many
    accumulators. Where none is fast enough, the fastest is taken.

    Args:
        rows: outputs.
        columns: inputs.
        vectors: vectors of a frame.
        interval: cycles a frame may take.
        group: elements that come in one beat; SIMD must divide it or be a multiple of it.
    """
    pes = [pe for pe in range(1, rows + 1) if rows % pe == 0]
    simds = [n for n in range(1, columns + 1) if columns % n == 0 and (n % group == 0 or group % n == 0)]
    cycles = {(pe, simd): vectors * (rows // pe) * (columns // simd) for pe in pes for simd in simds}
    fits = [folding for folding, needed in cycles.items() if needed <= interval]
    return min(fits, key=lambda f: (f[0] * f[1], max(f), f[0])) if fits else min(cycles, key=lambda f: cycles[f])


def inputs_of(images: Tensor) -> IntArray:
    """Return images (N, 1, 8, 8) in [-1, 1] as frames of integers, (N, 64), rows first.

    Raises:
        CannotLowerError: if a pixel is off the grid of 1/8.
    """
    pixels = images.flatten(1).to(torch.float64) / INPUT_SCALE
    if not bool((pixels == torch.round(pixels)).all()):
        raise CannotLowerError("the images are not multiples of 1/8")
    return pixels.to(torch.int64).numpy()


@dataclass(frozen=True)
class Folding:
    """How much of each layer is done in a cycle.

    Attributes:
        interval: cycles an image may take; PE and SIMD follow.
        pe: output lanes of the hidden layer, in place of what follows.
        simd: input lanes of the hidden layer, likewise.
    """

    interval: int
    pe: int | None = None
    simd: int | None = None


def lower(network: Network, folding: Folding) -> Pipeline:
    """Return the hardware of a trained network, from pixels to the class.

    Args:
        network: trained; it is put into evaluation mode and double precision.
        folding: cycles an image may take, and what the user set by hand.

    Raises:
        CannotLowerError: if the network has no integer form.
        ValueError: if the folding does not divide the layer.
    """
    network.eval().double()
    layers = network.linear()
    stages: list[Stage] = []
    width, kind = smallest(*INPUT)
    side, channels, group = IMAGE, 1, 1
    for index, layer in enumerate(layers):
        weights = _rows(layer)
        rows, columns = weights.shape
        bias = layer.bias_integers().numpy()
        convolves = layer.weight.dim() == 4
        if convolves:
            port_lanes = channels
            stages.append(
                SlidingWindow(
                    height=side,
                    width=side,
                    channels=channels,
                    kernel=KERNEL,
                    element_width=width,
                    kind=kind,
                    lanes=port_lanes,
                )
            )
            side, group = side - KERNEL + 1, channels
        vectors = side * side if convolves else 1
        pe, simd = fold(rows, columns, vectors, folding.interval, group)
        if 0 < index < len(layers) - 1:
            pe, simd = folding.pe or pe, folding.simd or simd
        unit = MatrixVector(weights, width, kind, pe=pe, simd=simd, vectors=vectors, bias=bias if bias.any() else None)
        stages.append(unit)
        if layer is layers[-1]:
            stages.append(Argmax(classes=rows, width=unit.output.width, kind=unit.output.kind, lanes=pe))
            break
        pool = network.pools[index]
        if pool > 1:
            stages.append(MaxPool(side, side, rows, pool, unit.output.width, unit.output.kind, pe))
            side //= pool
        steps = steps_of(between(layer, network.norms[index], network), rows, *unit.bounds, levels_of(network))
        out = stages[-1].output
        stages.append(
            Threshold(
                steps.thresholds, steps.values, out.width, out.kind, steps.falls, pe, side * side if convolves else 1
            )
        )
        width, kind = stages[-1].output.width, stages[-1].output.kind
        channels, group = rows, pe
    return Pipeline(tuple(stages))


def _rows(layer: Layer) -> IntArray:
    """Return the integer weights as (rows, columns), the columns of a convolution in the order (ky, kx, c)."""
    weights, _ = layer.integers()
    ordered = weights.permute(0, 2, 3, 1) if weights.dim() == 4 else weights
    found: IntArray = ordered.flatten(1).to(torch.int64).numpy()
    return found
