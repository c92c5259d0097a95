r"""FINN (Umuroglu et al. FPGA 2017): a trained binary network as a stream through one engine a layer, folded to a rate.

Binary weights of a whole network fit an FPGA, so each layer gets its own hardware and images stream through all of
them; how much hardware follows from the rate that the user asks for.

With $S$ = `synapses` inputs of -1 and +1, $p$ of them equal to their weights, a sum is $a = 2p - S$. Batch norm and
sign behind it are one comparison:

$$ \mathrm{sign}\!\left(\gamma \frac{a - \mu}{\sigma} + \beta\right) = +1 \iff a \ge \tau = \mu - \beta \sigma / \gamma
   \iff p \ge \tau^+ = \left\lceil (\tau + S) / 2 \right\rceil $$

for $\gamma > 0$. Where $\gamma < 0$ the neuron's weights are inverted, negating $a$, and $-\tau$ stands for $\tau$.
Max-pooling of what comes out is an OR. A convolution is a matrix-vector product for each window that a sliding window
unit sends. A layer of X rows and Y columns, used at `pixels` positions and folded onto $P$ = `pe` processing elements
of $Q$ = `simd` lanes, and the whole pipeline, take

$$ F = \mathrm{pixels} \cdot \frac{X}{P} \cdot \frac{Y}{Q} \text{ cycles an image}, \qquad
   \text{images a second} = f_\text{clk} / \max_\text{layers} F $$

FINN has no gradient of its own: the toy networks are trained as BNN is, $g_x = g_{\mathrm{sign}(x)}\, 1_{|x| \le 1}$.

Differences from the paper

1. (Sec. 4) Its text was not to be had whole: formulas are those of the authors' code (BNN-PYNQ: matrixvector.h,
   finnthesizer.py, config.h) and of the records' notes; the numbers of Sec. 4 are the notes'.
2. (Sec. 4.2.1) Popcount and signed sum are compared as two accumulators of this kit, 128 lanes, four beats, counted by
   Yosys for the 7 series; there Vivado HLS counted.
3. (Sec. 4.2.2) Thresholds are rounded up and compared with >=; the code rounds down and compares with >, which differs
   from sign(0) = +1 where $\tau$ is a whole number.
4. (Sec. 4.3) A folding is the one with the fewest multipliers that is fast enough, the squarest of these.
5. (Sec. 5) 8x8 digits, networks of 64-32-32-10 neurons and of two convolutions of 8 and 16 channels; no padding.
"""

from __future__ import annotations

from functools import cache, partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_impls.fpga.dot import AddSubtract, XnorPopcount
from reference_impls.fpga.lower import IMAGE, INPUT, inputs_of
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.network import INPUT_SCALE, KERNEL, Activation, Layer, Network
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.pool import MaxPool
from reference_impls.fpga.ports import IntArray, Stage, smallest
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.synthesis import synthesise
from reference_impls.fpga.threshold import Threshold
from reference_impls.fpga.window import SlidingWindow
from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import train

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


def crossing(norm: BatchNorm, scale: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    r"""Return $\tau$ in units of the sum that `scale` multiplies, $-\tau$ where a channel falls, and where, both (C,).

    Raises:
        ValueError: if a channel's $\gamma$ is 0: its sign is a constant and has no threshold.
    """
    parts = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, variance, gamma, beta = (cast("Tensor", part).detach().double().numpy() for part in parts)
    if (gamma == 0).any():
        raise ValueError(f"channel {int(np.argmax(gamma == 0))} has batch norm scale 0: it is a constant")
    return np.sign(gamma) * (mean - beta * np.sqrt(variance + norm.eps) / gamma) / scale, gamma < 0


def thresholds(layer: Layer, norm: BatchNorm) -> IntArray:
    r"""Return the least sums that give +1, (C,): from counts of agreements, $2 \tau^+ - S$, where inputs are bits."""
    synapses, (tau, _) = layer.weight[0].numel(), crossing(norm, float(layer.integers()[1][0]))
    if layer.input_scale == INPUT_SCALE:
        return np.ceil(tau).astype(np.int64)
    agreements = np.ceil((tau + synapses) / 2).astype(np.int64)
    return 2 * agreements - synapses


def cycles(rows: int, columns: int, pixels: int, pe: int, simd: int) -> int:
    """Return F, the cycles that a layer takes for an image."""
    return pixels * (rows // pe) * (columns // simd)


def folding(rows: int, columns: int, pixels: int, target: int, group: int = 1) -> tuple[int, int]:
    """Return PE and SIMD of the smallest unit that takes at most `target` cycles; SIMD fits beats of `group` elements.

    Raises:
        ValueError: if no folding is fast enough.
    """
    pes = [n for n in range(1, rows + 1) if rows % n == 0]
    simds = [n for n in range(1, columns + 1) if columns % n == 0 and (n % group == 0 or group % n == 0)]
    fits = [(pe, simd) for pe in pes for simd in simds if cycles(rows, columns, pixels, pe, simd) <= target]
    if not fits:
        raise ValueError(f"even unfolded the layer takes {pixels} cycles an image, more than {target}")
    return min(fits, key=lambda f: (f[0] * f[1], max(f), f[0]))


def streamed(network: Network, target: int) -> tuple[Pipeline, int]:
    """Return a network's hardware, `target` cycles an image, pixels to the last sums, and its cycles by the model."""
    stages: list[Stage] = []
    (width, kind), side, channels, slowest = smallest(*INPUT), IMAGE, 1, 0
    norms = [*cast("list[BatchNorm]", network.norms), None]
    for layer, norm, pool in zip(network.linear(), norms, [*network.pools, 1], strict=True):
        binary = layer.integers()[0]
        weights = (binary.permute(0, 2, 3, 1) if binary.dim() == 4 else binary).flatten(1).numpy()
        rows, columns = weights.shape
        pixels, group = 1, 1
        if binary.dim() == 4:
            stages.append(SlidingWindow(side, side, channels, KERNEL, width, kind, lanes=channels))
            side, group = side - KERNEL + 1, channels
            pixels = side * side
            slowest = max(slowest, pixels * KERNEL * KERNEL)
        pe, simd = folding(rows, columns, pixels, target, group)
        slowest = max(slowest, cycles(rows, columns, pixels, pe, simd))
        if norm is None:
            stages.append(MatrixVector(weights, width, kind, pe, simd, bias=layer.bias_integers().numpy()))
            break
        weights = np.where(crossing(norm, 1.0)[1][:, None], -weights, weights)
        unit = MatrixVector(weights, width, kind, pe, simd, vectors=pixels)
        sums, limits = unit.output, thresholds(layer, norm)[:, None]
        stages += [unit, Threshold(limits, (-1, 1), sums.width, sums.kind, lanes=pe, vectors=pixels)]
        width, kind, channels = 1, "bipolar", rows
        if pool > 1:
            stages.append(MaxPool(side, side, rows, pool, 1, "bipolar", pe))  # an OR
            side //= pool
    return Pipeline(tuple(stages)), slowest


def threshold_differences(network: Network) -> int:
    """Count the sums, all that can be in all channels, whose threshold says other than torch's batch norm and sign."""
    wrong = 0
    for layer, norm in zip(network.linear(), cast("list[BatchNorm]", network.norms), strict=False):
        synapses = layer.weight[0].numel()
        low, high, step = (*INPUT, 1) if layer.input_scale == INPUT_SCALE else (-1, 1, 2)
        sums = torch.arange(low * synapses, high * synapses + 1, step)[:, None].expand(-1, norm.num_features)
        scaled = (sums * layer.integers()[1]).reshape(*sums.shape, *(1,) * (layer.weight.dim() - 2))
        with torch.no_grad():
            expected = (norm(scaled) >= 0).reshape(sums.shape).numpy()
        ours = np.where(crossing(norm, 1.0)[1], -sums.numpy(), sums.numpy()) >= thresholds(layer, norm)
        wrong += int((ours != expected).sum())
    return wrong


def pooling_differences(network: Network, x: Tensor) -> int:
    """Count activations for which an OR of thresholded values is not max-pooling, then batch norm and sign."""
    with torch.no_grad():
        first, pooled = network.hidden(x)
        each = network.activation(network.norms[1](network.layers[1](first))).numpy() > 0  # (n, C, 4, 4)
    either = each.reshape(*each.shape[:2], 2, 2, 2, 2).any(axis=(3, 5))  # (n, C, 2, 2)
    return int((either != (pooled.numpy() > 0)).sum())


def binarize(x: Tensor) -> Tensor:
    r"""Return the signs of activations; the gradient passes where $|x| \le 1$."""
    return straight_through(x, sign(x), (x.abs() <= 1).to(x.dtype))


def to_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1."""
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


WEIGHTS = Quantizer("weights", 1, lambda w: straight_through(w, sign(w)), to_integers)
ACTIVATIONS = Quantizer("activations", 1, binarize, to_integers)
QUANTIZERS = (WEIGHTS, ACTIVATIONS)


def toy_network(*, convolves: bool) -> Network:
    """Return an all-binary network; the fully connected one starts with batch norm scales of both signs."""
    shapes: list[tuple[int, ...]] = [(32, 64), (32, 32), (10, 32)]
    if convolves:
        shapes = [(8, 1, KERNEL, KERNEL), (16, 8, KERNEL, KERNEL), (10, 64)]
    layers = [Layer(shape, WEIGHTS, 1.0 if n else INPUT_SCALE, bias=n == 2) for n, shape in enumerate(shapes)]
    network = Network(layers, [1, 2 if convolves else 1], Activation(ACTIVATIONS))
    for norm in () if convolves else network.norms:
        nn.init.uniform_(cast("Tensor", norm.weight), -1, 1)
    return network


@cache
def accumulator_luts() -> tuple[int, int]:
    """Return the LUTs of accumulators for 128 bits a cycle: of counted ones, and of numbers -1 and +1 with a sign."""
    ones, dots = np.ones((1, 512), dtype=np.int64), (XnorPopcount(), AddSubtract(2, "signed"))
    popcount, signed = (MatrixVector(ones, dot.width, dot.kind, 1, 128, dot=dot) for dot in dots)
    return synthesise(popcount, "xc7").logic, synthesise(signed, "xc7").logic


RECORD = "finn"
SEEDS = range(3)
DESIGNS = ((False, 20), (False, 100), (False, 300), (True, 400))  # convolutional; cycles an image may take
CNV = (  # the authors' folding for the PYNQ board: rows, columns, pixels, PE, SIMD
    *((64, 27, 900, 16, 3), (64, 576, 784, 32, 32), (128, 576, 144, 16, 32), (128, 1152, 100, 16, 32)),
    *((256, 1152, 9, 4, 32), (256, 2304, 1, 1, 32), (512, 256, 1, 1, 4), (512, 512, 1, 1, 8), (64, 512, 1, 4, 1)),
)
CLOCK, MEASURED = 100e6, 3039.3  # of that board; images a second, printed with two tutorials' runs of 1,330 images


def reproduce(seed: int) -> dict[str, float]:
    """Fold, simulate and check two trained networks."""
    x = digits().test_x.double()
    frames = inputs_of(x[:6])
    networks = {c: cast("Network", train(partial(toy_network, convolves=c), seed).double()) for c in (False, True)}
    gaps, shares, wrong = [], [], {False: 0, True: 0}
    for convolves, target in DESIGNS:
        pipeline, model = streamed(networks[convolves], target)
        run, logits = simulate(pipeline, frames), networks[convolves](x[:6]).detach().numpy()
        stalled = simulate(pipeline, frames[:2], stall=0.3, seed=seed).outputs
        wrong[convolves] += int((run.outputs != logits).sum() + (stalled != logits[:2]).sum())
        gaps.append(abs(run.interval - model))
        shares.append(run.interval / target)
    deep = streamed(networks[False], 64)[0]
    shallow = Pipeline(deep.stages, tuple(min(2, stage.depth) for stage in deep.stages))
    popcount, signed = accumulator_luts()
    return {
        "threshold_differences": float(sum(map(threshold_differences, networks.values()))),
        "matrix_vector_differences": float(wrong[False]),
        "convolution_differences": float(wrong[True]),
        "pooling_differences": float(pooling_differences(networks[True], x)),
        "cycles_off_the_model": max(gaps),
        "cycles_over_target": max(shares),
        "cycles_with_fifos": simulate(deep, frames).interval,
        "cycles_with_two_places": simulate(shallow, frames).interval,
        "board_off_the_model": abs(CLOCK / max(cycles(*layer) for layer in CNV) / MEASURED - 1),
        "popcount_over_signed_luts": popcount / signed,
    }


CLAIMS: tuple[Claim, ...] = (
    Exact("threshold-replaces-batch-norm", "threshold_differences", "==", 0.0, unit="sums"),
    Exact("one-engine-a-layer", "matrix_vector_differences", "==", 0.0, unit="logits"),
    Exact("convolutions-stream", "convolution_differences", "==", 0.0, unit="logits"),
    Exact("or-is-max-pooling", "pooling_differences", "==", 0.0, unit="activations"),
    Exact("slowest-layer-sets-the-rate", "cycles_off_the_model", "==", 0.0, unit="cycles"),
    Exact("folds-to-a-target-rate", "cycles_over_target", "<=", 1.0, unit="x"),
    Difference("fifos-carry-the-rate", "cycles_with_two_places", "cycles_with_fifos", unit="cycles"),
    Exact("rate-on-a-board", "board_off_the_model", "<=", 0.05),
    Exact("popcount-halves-the-accumulator", "popcount_over_signed_luts", "<=", 0.55, unit="x"),
)

if __name__ == "__main__":
    raise SystemExit(main())
