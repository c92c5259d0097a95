r"""A systolic array for matrix products: weights stay in the array, activations flow through it.

The form of the Tensor Processing Unit (Jouppi et al., ISCA 2017, Sec. 2): activations enter from the left, skewed by a
cycle a row, and move right; partial sums move down, one row a cycle. Weights take the same way as the activations: each
cell keeps the first weight that reaches it and lets the others through, so that the weights of the next tile may follow
right behind the last activation of this one, without draining the array.

A product of any size is cut into tiles by the host (`SystolicArray.split`), which also adds up the partial sums of
tiles along the inner dimension (`SystolicArray.join`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reference_impls.fpga.delay import delay
from reference_impls.fpga.ports import IntArray, Port, smallest


@dataclass(frozen=True)
class SystolicArray:
    r"""`rows` x `columns` multiply-accumulate cells: a tile is $Y = A W$ with `vectors` rows of activations in $A$.

    Contract:
        Input: a frame is a tile: `columns` beats of weights, column by column, then `vectors` beats of activations;
            each beat has `rows` signed elements (the inner dimension).
        Output: `vectors` beats of `columns` sums, signed, wide enough for the greatest sum of `rows` products.
        Interval: `columns + vectors` cycles a tile.
        Latency: `2 * columns + rows`: the weights, then the way of the first activation through the array.

    Attributes:
        rows: cells of the inner dimension.
        columns: cells of the output dimension.
        vectors: activation vectors of a tile.
        width: bits of a weight and of an activation.
    """

    rows: int
    columns: int
    vectors: int
    width: int = 8

    def __post_init__(self) -> None:
        """Raise ValueError for sizes that cannot be."""
        if min(self.rows, self.columns, self.vectors) < 1 or not 2 <= self.width <= 16:
            raise ValueError(f"rows, columns and vectors must be at least 1 and width in 2..16: {self}")

    @property
    def label(self) -> str:
        """What it is, with its size."""
        return f"systolic {self.rows} x {self.columns}, {self.width} bits, tiles of {self.vectors}"

    @property
    def input(self) -> Port:
        """Weights, then activations."""
        return Port(self.width, "signed", self.rows, self.columns + self.vectors)

    @property
    def output(self) -> Port:
        """Sums."""
        return Port(self.sum_bits(self.rows), "signed", self.columns, self.vectors)

    @property
    def interval(self) -> int:
        """Cycles of a tile."""
        return self.columns + self.vectors

    @property
    def latency(self) -> int:
        """The weights, then the way of the first activation through the array."""
        return 2 * self.columns + self.rows

    @property
    def depth(self) -> int:
        """No FIFO: it never makes its producer wait."""
        return 0

    def sum_bits(self, rows: int) -> int:
        """Return the bits of a sum of `rows` products."""
        low = -(1 << (self.width - 1))
        return smallest(rows * low * (-low - 1), rows * low * low)[0]

    def model(self, frames: IntArray) -> IntArray:
        """Compute on integers: (tiles, input elements) to (tiles, output elements)."""
        parts = frames.reshape(len(frames), -1, self.rows)
        weights, activations = parts[:, : self.columns], parts[:, self.columns :]
        found: IntArray = (activations @ weights.transpose(0, 2, 1)).reshape(len(frames), -1)
        return found

    def tiles(self, m: int, k: int, n: int, groups: int = 1) -> int:
        """Return how many tiles `groups` products (m, k) x (k, n) take."""
        if min(m, k, n, groups) < 1:
            raise ValueError(f"sizes must be at least 1: {m}, {k}, {n}, {groups} groups")
        return groups * -(-m // self.vectors) * -(-k // self.rows) * -(-n // self.columns)

    def cycles(self, m: int, k: int, n: int, groups: int = 1) -> int:
        """Return the cycles of `groups` products (m, k) x (k, n), from the first beat in to the last beat out.

        Tiles follow each other without a gap; what is left is the way of the last activation through the array.
        """
        return self.tiles(m, k, n, groups) * self.interval + self.rows + self.columns

    def utilisation(self, m: int, k: int, n: int, groups: int = 1) -> float:
        """Return the useful multiplications as a share of what all cells could do in those cycles."""
        return groups * m * k * n / (self.rows * self.columns * self.cycles(m, k, n, groups))

    def split(self, activations: IntArray, weights: IntArray) -> IntArray:
        """Cut a product (m, k) x (k, n) into tiles, padded with 0: frames for `simulate`, (tiles, input elements).

        The weights' column tile changes slowest, then the tile of the inner dimension, then the block of vectors.

        Raises:
            ValueError: if the matrices do not fit each other.
        """
        if activations.ndim != 2 or weights.ndim != 2 or activations.shape[1] != weights.shape[0]:
            raise ValueError(f"cannot multiply {activations.shape} by {weights.shape}: the inner sizes must be equal")
        (m, k), n = activations.shape, weights.shape[1]
        blocks, inner, outer = -(-m // self.vectors), -(-k // self.rows), -(-n // self.columns)
        padded_a = np.zeros((blocks * self.vectors, inner * self.rows), dtype=np.int64)
        padded_w = np.zeros((inner * self.rows, outer * self.columns), dtype=np.int64)
        padded_a[:m, :k], padded_w[:k, :n] = activations, weights
        a = padded_a.reshape(blocks, self.vectors, inner, self.rows).transpose(2, 0, 1, 3)  # inner, block, vector, row
        w = padded_w.reshape(inner, self.rows, outer, self.columns).transpose(2, 0, 3, 1)  # outer, inner, column, row
        shape = (outer, inner, blocks)
        return np.concatenate(
            [
                np.broadcast_to(w[:, :, None], (*shape, self.columns, self.rows)),
                np.broadcast_to(a[None], (*shape, self.vectors, self.rows)),
            ],
            axis=3,
        ).reshape(-1, self.input.elements)

    def join(self, outputs: IntArray, m: int, k: int, n: int) -> IntArray:
        """Put the outputs of the tiles of a product (m, k) x (k, n) together: (m, n).

        Partial sums of the tiles along the inner dimension are added up here, by the host.
        """
        blocks, inner, outer = -(-m // self.vectors), -(-k // self.rows), -(-n // self.columns)
        parts = outputs.reshape(outer, inner, blocks, self.vectors, self.columns).sum(axis=1)
        found: IntArray = parts.transpose(1, 2, 0, 3).reshape(blocks * self.vectors, -1)[:m, :n]
        return found

    def matmul(
        self, activations: IntArray, weights: IntArray, array: Callable[[IntArray], IntArray] | None = None
    ) -> IntArray:
        """Multiply (m, k) by (k, n) tile by tile.

        Args:
            activations: (m, k), within the array's width.
            weights: (k, n), likewise.
            array: what computes the tiles, for instance `lambda frames: simulate(unit, frames).outputs`; by default
                the integer model.
        """
        frames = self.split(activations, weights)
        (m, k), n = activations.shape, weights.shape[1]
        return self.join((array or self.model)(frames), m, k, n)

    def build(self) -> Any:
        """Return the component: stream `i` in, stream `o` out."""
        return _SystolicArray(self)


class _SystolicArray(wiring.Component):
    def __init__(self, unit: SystolicArray) -> None:
        self.unit = unit
        super().__init__({"i": In(unit.input.signature()), "o": Out(unit.output.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002  Amaranth's signature
        m, unit = Module(), self.unit
        move, beat = Signal(), Signal(range(unit.interval))
        m.d.comb += [move.eq(~self.o.valid | self.o.ready), self.i.ready.eq(move)]
        with m.If(move & self.i.valid):
            m.d.sync += beat.eq(Mux(beat == unit.interval - 1, 0, beat + 1))

        def later(value: Any, times: int = 1) -> Any:
            return delay(m, move, value, times)

        # Each cell of the first row takes the first weight that reaches it and lets the others go on to the right.
        loads: Any = self.i.valid & (beat < unit.columns)
        multiplies: Any = self.i.valid & (beat >= unit.columns)
        takes = []
        for column in range(unit.columns):
            loaded, take = Signal(name=f"loaded{column}"), Signal(name=f"take{column}")
            m.d.comb += take.eq(loads & ~loaded)
            with m.If(move & (take | multiplies)):
                m.d.sync += loaded.eq(take)
            takes.append(take)
            loads, multiplies = later(loads & loaded), later(multiplies)

        sums: list[Any] = [Const(0)] * unit.columns
        for row in range(unit.rows):
            x = later(unit.input.lane(self.i.payload, row), row)
            for column in range(unit.columns):
                place = f"{row}_{column}"
                weight, product = Signal(signed(unit.width), name=f"w{place}"), Signal(signed(2 * unit.width))
                total = Signal(signed(unit.sum_bits(row + 1)), name=f"sum{place}")
                with m.If(move):
                    m.d.sync += [product.eq(x * weight), total.eq(sums[column] + product)]
                    with m.If(takes[column]):
                        m.d.sync += weight.eq(x)
                sums[column] = total
                x = later(x)
            takes = [later(take) for take in takes]

        # `multiplies` has passed all columns; it follows the last one down.
        done = later(multiplies, unit.rows)
        aligned = [later(total, unit.columns - 1 - column) for column, total in enumerate(sums)]
        m.d.comb += [self.o.valid.eq(done), self.o.payload.eq(Cat(aligned))]
        return m
