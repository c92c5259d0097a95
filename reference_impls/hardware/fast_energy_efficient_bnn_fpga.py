r"""Similarity reuse for BNNs (Fu et al. FPGA 2019): counts again only the bits that differ from the operand before.

Windows of a feature map that follow each other agree in most bits, and so, less, do the kernels of a layer. Popcounts
of what agrees need not be done again.

With $a_t$ the operands that stream (`streamed`: windows for input reuse, kernels for weight reuse), $b_p$ those that
stay (`stationary`: kernels, or windows), n = `columns` bits each, and $m_t$ the mask of changed bits, forward:

$$ c_{t,p} = \#\{j : a_{t,j} = b_{p,j}\} = c_{t-1,p} + \sum_{j \in m_t} \pm 1, \qquad m_t = a_t \oplus a_{t-1} $$

with + where the new bit agrees and - where it differs; $a_t \cdot b_p = 2 c_{t,p} - n$. A full count takes n additions,
this one $|m_t|$, and words of the buffer in which nothing changed are not read. The result is the same, bit for bit.
Kernels may stream in any order, so in one of small steps. The paper has no gradient: the toy network is trained as BNN
is, $g_x = g_{\mathrm{sign}(x)}\, 1_{|x| \le 1}$.

Differences from the paper

1. (whole text) Only abstract and introduction were to be had, and the abstract of the authors' later SimBNN, so other
   sections cannot be cited: the unit, its word of 8 bits, the order of kernels (each is followed by the nearest that is
   left, from the best start) and the measure of similarity (equal bits of neighbours) are an own design.
2. (experiments) The second of two convolutions, 8 channels of 6x6 to 16 of 4x4, on 8x8 digits: 16 windows and 16
   kernels, so that one unit serves both dataflows. Cycles, additions and reads are counted; power is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from reference_impls.fpga.network import INPUT_SCALE, KERNEL, Activation, Layer, Network
from reference_impls.fpga.ports import IntArray, Port
from reference_impls.fpga.simulate import simulate
from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import train


@dataclass(frozen=True)
class Reuse:
    """Count agreements of every streamed with every stationary vector, a word of changed bits a cycle.

    Contract:
        Input: a frame is the stationary vectors, then the streamed ones, of -1 and +1, a vector a beat.
        Output: for each streamed vector a beat: the agreements with each stationary one, then how many bits were added.
    """

    columns: int  # bits of a vector
    stationary: int  # vectors that stay
    streamed: int  # vectors that follow each other
    word: int  # bits that are read and added in a cycle; divides the columns
    reuse: bool = True  # counts go on from the vector before
    depth = 0  # no FIFO
    label = "agreements of binary vectors"

    def __post_init__(self) -> None:
        """Raise ValueError where a word does not divide a vector or there is no vector."""
        if min(self.stationary, self.streamed, self.word) < 1 or self.columns % self.word:
            raise ValueError(f"there must be vectors, and words of {self.word} must divide {self.columns} bits")

    @property
    def input(self) -> Port:
        """Vectors."""
        return Port(1, "bipolar", self.columns, self.stationary + self.streamed)

    @property
    def output(self) -> Port:
        """Counts."""
        return Port(self.columns.bit_length(), "unsigned", self.stationary + 1, self.streamed)

    @property
    def interval(self) -> int:
        """A cycle for each vector and word at most, which it is without `reuse`; `cycles` has the number."""
        return self.input.beats + self.streamed * self.columns // self.word

    @property
    def latency(self) -> int:
        """Stationary vectors, all words of the first streamed one, two registers."""
        return self.stationary + self.columns // self.word + 2

    def masks(self, frames: IntArray) -> NDArray[np.bool_]:
        """Return the bits that are added: (frames, streamed, columns)."""
        vectors = frames.reshape(len(frames), -1, self.columns)[:, self.stationary :]
        first = np.arange(self.streamed)[:, None] == 0
        return np.asarray((vectors != np.roll(vectors, 1, axis=1)) | first | (not self.reuse))

    def cycles(self, frames: IntArray) -> IntArray:
        """Return the cycles that each frame takes, (frames,): its vectors, and a cycle for each word that is read."""
        words = self.masks(frames).reshape(len(frames), -1, self.word).any(axis=2)
        return np.asarray(self.stationary + self.streamed + words.sum(axis=1))

    def model(self, frames: IntArray) -> IntArray:
        """Compute on integers: (frames, input elements) to (frames, output elements)."""
        vectors = frames.reshape(len(frames), -1, self.columns)
        products = vectors[:, self.stationary :] @ vectors[:, : self.stationary].transpose(0, 2, 1)
        added = self.masks(frames).sum(axis=2, keepdims=True)
        return np.concatenate([(products + self.columns) // 2, added], axis=2).reshape(len(frames), -1)

    def build(self) -> Any:
        """Return the component: stream `i` in, stream `o` out."""
        return _Reuse(self)


class _Reuse(wiring.Component):
    def __init__(self, unit: Reuse) -> None:
        self.unit = unit
        super().__init__({"i": In(unit.input.signature()), "o": Out(unit.output.signature())})

    def elaborate(self, platform: Any) -> Module:  # noqa: ARG002  Amaranth's signature
        m, unit = Module(), self.unit
        size, width = unit.columns, unit.output.width
        kept = Array(Signal(size, name=f"kept_{p}") for p in range(unit.stationary))
        counts = [Signal(width, name=f"count_{p}") for p in range(unit.stationary)]
        vector, mask, added, place = Signal(size), Signal(size), Signal(width), Signal(range(unit.input.beats))
        active, again, done, emit = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [done.eq(mask == 0), emit.eq(done & active & (~self.o.valid | self.o.ready))]
        m.d.comb += self.i.ready.eq(emit | (done & ~active))
        m.d.sync += self.o.valid.eq(emit | (self.o.valid & ~self.o.ready))
        with m.If(emit):
            m.d.sync += [self.o.payload.eq(Cat(*counts, added)), active.eq(0)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += place.eq(Mux(place == unit.input.beats - 1, 0, place + 1))
            with m.If(place < unit.stationary):
                m.d.sync += kept[place].eq(self.i.payload)
            with m.Else():
                goes_on = (place != unit.stationary) & unit.reuse
                m.d.sync += [vector.eq(self.i.payload), active.eq(1), again.eq(goes_on), added.eq(0)]
                m.d.sync += mask.eq(Mux(goes_on, self.i.payload ^ vector, (1 << size) - 1))
                m.d.sync += [count.eq(Mux(goes_on, count, 0)) for count in counts]
        for start in range(0, size, unit.word):
            part = slice(start, start + unit.word)
            with m.If((mask[part] != 0) & ((mask[:start] == 0) if start else 1)):  # the lowest word with a change
                m.d.sync += [mask[part].eq(0), added.eq(added + sum(mask[part]))]
                for count, other in zip(counts, kept, strict=True):
                    differ = mask[part] & (vector[part] ^ other[part])
                    m.d.sync += count.eq(count + sum(mask[part] & ~differ) - Mux(again, sum(differ), 0))
        return m


def windows(maps: IntArray) -> IntArray:
    """Return the windows of maps (N, C, H, W), row by row: (N, windows, bits), bits in the order (ky, kx, c)."""
    views = sliding_window_view(maps, (KERNEL, KERNEL), axis=(2, 3))  # (N, C, H', W', ky, kx)
    return views.transpose(0, 2, 3, 4, 5, 1).reshape(len(maps), views.shape[2] * views.shape[3], -1)


def similarity(vectors: IntArray) -> float:
    """Return the percentage of bits in which neighbours agree, vectors (..., vectors, bits)."""
    return 100.0 * float((vectors[..., 1:, :] == vectors[..., :-1, :]).mean())


def short_steps(vectors: IntArray) -> IntArray:
    """Return vectors (n, bits) in an order in which each is followed by the nearest left, from the best start."""
    steps, tours = (vectors[:, None] != vectors).sum(axis=2), []
    for start in range(len(vectors)):
        tour = [start]
        while left := set(range(len(vectors))) - set(tour):
            tour.append(min((int(steps[tour[-1], other]), other) for other in left)[1])
        tours.append((sum(steps[a, b] for a, b in pairwise(tour)), tour))
    return vectors[min(tours)[1]]


def binarize(x: Tensor) -> Tensor:
    r"""Return the signs of weights or activations; the gradient passes where $|x| \le 1$."""
    return straight_through(x, sign(x), (x.abs() <= 1).to(x.dtype))


def to_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1."""
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


WEIGHTS, ACTIVATIONS = (Quantizer(name, 1, binarize, to_integers) for name in ("weights", "activations"))
QUANTIZERS = (WEIGHTS, ACTIVATIONS)


def toy_network() -> Network:
    """Return a network of two convolutions and a linear layer, all weights and inner activations binary."""
    layers = [Layer((8, 1, KERNEL, KERNEL), WEIGHTS, INPUT_SCALE), Layer((16, 8, KERNEL, KERNEL), WEIGHTS, 1.0)]
    return Network([*layers, Layer((10, 64), WEIGHTS, 1.0, bias=True)], [1, 2], Activation(ACTIVATIONS))


def work(unit: Reuse, stay: IntArray, stream: IntArray) -> tuple[float, float, int]:
    """Simulate (frames, vectors, columns); return a frame's additions and cycles, and counts that numpy's deny."""
    run = simulate(unit, np.concatenate([stay, stream], axis=1).reshape(len(stay), -1))
    counts, added = np.split(run.outputs.reshape(len(stay), unit.streamed, -1), [unit.stationary], axis=2)
    wrong = int((2 * counts - unit.columns != stream @ stay.transpose(0, 2, 1)).sum())
    return unit.stationary * float(added.sum()) / len(stay), (run.cycles - 2) / len(stay), wrong


RECORD = "fast-energy-efficient-bnn-fpga"
SEEDS = range(5)
IMAGES, WORD = 8, 8


def reproduce(seed: int) -> dict[str, float]:
    """Train a binary network and simulate its second convolution, counted anew and with both kinds of reuse."""
    network = cast("Network", train(toy_network, seed))
    with torch.no_grad():
        maps = network.hidden(digits().test_x)[0].to(torch.int64).numpy()
    random = np.random.default_rng(seed)
    mixed = random.permuted(maps.reshape(*maps.shape[:2], -1), axis=2).reshape(maps.shape)
    inputs, kernels = windows(maps), windows(network.linear()[1].integers()[0].numpy())[:, 0]
    ordered, chance = short_steps(kernels), short_steps(random.choice(np.array([-1, 1]), kernels.shape))
    still, moving = np.repeat(ordered[None], IMAGES, axis=0), inputs[:IMAGES]
    runs = (False, still, moving), (True, still, moving), (True, moving, still)
    full, by_input, by_weight = (work(Reuse(72, 16, 16, WORD, reuse), *operands) for reuse, *operands in runs)
    better = min(by_input, by_weight)
    return {
        "input_similarity": similarity(inputs),
        "shuffled_input_similarity": similarity(windows(mixed)),
        "kernel_similarity": similarity(ordered),
        "random_kernel_similarity": similarity(chance),
        "wrong_counts": float(full[2] + by_input[2] + by_weight[2]),
        "additions_skipped_by_input_reuse": 100 - 100 * by_input[0] / full[0],
        "additions_skipped_by_weight_reuse": 100 - 100 * by_weight[0] / full[0],
        "additions_skipped": 100 - 100 * better[0] / full[0],
        "reads_skipped": 100 - 100 * (better[1] - 32) / (full[1] - 32),  # a cycle for each vector reads no word
        "cycles": full[1],
        "cycles_with_reuse": better[1],
        "speedup_of_single_bits": (32 + full[0] / 16) / (32 + better[0] / 16),  # were a word a bit
    }


SMALL = "An 8x8 digit has few windows: one in four begins a row, and two pixels to the side the stroke has ended."
BY_CHANCE = "Of 16 kernels, the nearest to one agrees with it that often by chance."
WIDE = "Where two bits in five change, words of 8 bits seldom stay as they were; `speedup_of_single_bits` has others."
CLAIMS: tuple[Claim, ...] = (
    Exact("reuse-is-exact", "wrong_counts", "==", 0.0, unit="counts"),
    Difference("neighbouring-inputs-agree", "input_similarity", "shuffled_input_similarity", unit="%"),
    Difference("learned-kernels-agree", "kernel_similarity", "random_kernel_similarity", unit="%", remark=BY_CHANCE),
    Difference("inputs-agree-more", "input_similarity", "kernel_similarity", unit="%", remark=SMALL),
    Exact("reuse-skips-work", "additions_skipped", ">=", 80.0, unit="%", remark=SMALL),
    Exact("reuse-skips-reads", "reads_skipped", ">=", 40.0, unit="%", remark=WIDE),
    Difference("reuse-is-faster", "cycles", "cycles_with_reuse", unit="cycles", remark=WIDE),
)

if __name__ == "__main__":
    raise SystemExit(main())
