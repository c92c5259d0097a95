r"""UNPU (Lee et al. JSSC 2019): an accelerator whose weights may have any width from 1 to 16 bits, bit by bit.

A multiplier built for the widest weights wastes time and energy on narrow ones. UNPU has none: a look-up-table-based
bit-serial processing element (LBPE) adds a few inputs up in every way once, keeps these partial sums in a table, and
from then on one bit of each of these inputs' weights is the address of the right sum. For a group of $g$ inputs and
weights of $b > 1$ bits in two's complement, with bits $w_j^0$ (the sign) to $w_j^{b-1}$,

$$ T[k] = \sum_{j < g} k_j x_j, \qquad
   \sum_j w_j x_j = -2^{b-1}\, T[w^0] + \sum_{t=1}^{b-1} 2^{b-1-t}\, T[w^t] $$

so a beat takes $b$ cycles. Weights of one bit are -1 and +1. Their table is odd, $T[\bar k] = -T[k]$: half of it will
do, and 8 entries serve $g = 4$ inputs instead of 3,

$$ T[k] = x_3 + \sum_{j < 3} (2 k_j - 1)\, x_j, \qquad
   \sum_j w_j x_j = T[w_0 w_1 w_2] \text{ if } w_3 = 1, \text{ else } -T[\bar w_0 \bar w_1 \bar w_2] $$

UNPU is hardware for inference; there is no gradient. Names: `bits` $b$, `group` $g$, `LookUp` the processing element,
`tables` how many tables work side by side, each read once a cycle for every row of weights.

Differences from the paper

1. (abstract) The article was not at hand, only its abstract and notes on the ISSCC version: no section numbers. Tables
   of 8 entries, for 3 inputs and at one bit for 4, are inferred from the peak rates, 21.3 = 16 x 4/3 times higher at 1
   bit than at 16. So the claim on throughput tests that no cycle is lost, not how large tables are. How many rows
   share a table is not known; here all do, 4 where cells are counted.
2. (abstract) Energy of a 65 nm chip cannot be measured here. Look-up-table positions of an ECP5 FPGA stand for it, at
   equal products a cycle, without DSP blocks, weights in block memory. Inputs are unsigned, of 8 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reference_impls.fpga.adders import total
from reference_impls.fpga.delay import delay
from reference_impls.fpga.dot import AddSubtract, Multiply
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.ports import IntArray, Port, smallest
from reference_impls.fpga.rom import Rom, pack
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.synthesis import synthesise
from reference_impls.kit.claims import Claim, Exact
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main

ENTRIES = 8  # of a table
WIDEST = 16  # bits of a weight
WIDTH = 8  # bits of an input


def bits_of(weights: IntArray, bits: int) -> IntArray:
    """Return weights' bits, sign first: (...) to (bits, ...), at one bit 1 for +1; ValueError if they do not fit."""
    if not 1 <= bits <= WIDEST:
        raise ValueError(f"weights have 1 to {WIDEST} bits, not {bits}")
    held = [-1, 1] if bits == 1 else range(-(1 << (bits - 1)), 1 << (bits - 1))
    if not np.isin(weights, held).all():
        raise ValueError(f"weights of {bits} bits lie in {held[0]}..{held[-1]}, without 0 at one bit")
    return np.stack([(weights > 0 if bits == 1 else weights >> shift) & 1 for shift in reversed(range(bits))])


class LookUp:
    """Multiply a vector by a constant matrix, all rows at once, one bit of the weights a cycle.

    Contract:
        Input: `folds` beats of `tables` groups of unsigned elements.
        Output: one beat of `rows` accumulators, the smallest that hold all sums.
        Interval: `folds * bits` cycles.
        Latency: three cycles more: registers for inputs, half the memory, and tables and weights.
        Depth: 0; it takes its beats at an even pace.
    """

    def __init__(self, weights: IntArray, bits: int, tables: int = 1) -> None:
        """Set everything up.

        Args:
            weights: (rows, columns); -1 and +1 at one bit.
            bits: of a weight, 1 to 16.
            tables: filled from a beat; as many groups must divide the columns.
        """
        self.weights, self.bits, self.tables, self.group = weights, bits, tables, 4 if bits == 1 else 3
        rows, columns = weights.shape
        if tables < 1 or columns % (tables * self.group):
            raise ValueError(f"{tables} tables of {self.group} do not divide {columns} inputs")
        folds = columns // (tables * self.group)
        planes = bits_of(weights, bits).reshape(bits, rows, folds, tables, self.group)
        self.codes = planes.transpose(2, 0, 1, 3, 4)  # (folds, bits, rows, tables, group), as they are read
        self.label = f"look-up {rows} x {columns}, {tables} tables, {bits} bits"
        self.input = Port(WIDTH, "unsigned", tables * self.group, folds)
        ends = (weights.clip(max=0).sum(axis=1).min(), weights.clip(min=0).sum(axis=1).max())
        self.output = Port(*smallest(*(int(end) * self.input.high for end in ends)), rows, 1)
        self.interval, self.latency, self.depth = folds * bits, folds * bits + 3, 0

    @property
    def starts(self) -> IntArray:
        """Where the accumulators start, (rows,): bits are turned over instead of negated, each time one short."""
        turned: IntArray = (1 - self.codes[..., -1]).sum(axis=(0, 1, 3))
        return turned if self.bits == 1 else np.full(len(turned), len(self.codes) << (self.bits - 1))

    def model(self, frames: IntArray) -> IntArray:
        """Compute on integers: (frames, columns) to (frames, rows)."""
        products: IntArray = frames @ self.weights.T
        return products

    def build(self) -> Any:
        """Return a new component with the streams `i` and `o`."""
        return _LookUp(self)


class _LookUp(wiring.Component):
    def __init__(self, unit: LookUp) -> None:
        self._unit = unit
        super().__init__({"i": In(unit.input.signature()), "o": Out(unit.output.signature())})

    def elaborate(self, platform: Any) -> Any:  # noqa: ARG002  Amaranth's signature
        m, unit, lanes = Module(), self._unit, self._unit.input.lanes
        words = unit.codes.reshape(unit.interval, -1)
        m.submodules.weights = weights = Rom(pack(words, 1), words.shape[1], "block").build()
        move, busy, x = Signal(), Signal(), Signal.like(self.i.payload)
        bit, cycle = Signal(range(unit.bits)), Signal(range(unit.interval))
        last, closes = bit == unit.bits - 1, cycle == unit.interval - 1
        m.d.comb += [move.eq(~self.o.valid | self.o.ready), self.i.ready.eq(move & (~busy | last))]
        m.d.comb += [weights.address.eq(cycle), weights.enable.eq(move)]
        with m.If(move & busy):
            m.d.sync += [bit.eq(Mux(last, 0, bit + 1)), cycle.eq(Mux(closes, 0, cycle + 1))]
        with m.If(self.i.ready):
            m.d.sync += [busy.eq(self.i.valid), x.eq(self.i.payload)]

        steps = (busy, bit == 0, last, cycle < unit.bits, closes)
        valid, first, last, opens, closes = (delay(m, move, step, 2) for step in steps)
        x = delay(m, move, x)
        tables = [[delay(m, move, entry) for entry in self._table(x, place)] for place in range(unit.tables)]
        outputs, shape = [], signed(unit.output.width)
        for row, start in enumerate(unit.starts):
            serial, added, kept = Signal(shape), Signal(shape), Signal(shape, name=f"row_{row}")
            value = self._read(m, tables, weights.data[row * lanes : (row + 1) * lanes])
            m.d.comb += added.eq(Mux(first, 0, serial << 1) + (Mux(first, ~value, value) if unit.bits > 1 else value))
            with m.If(move & valid):
                m.d.sync += [serial.eq(added), kept.eq(Mux(last, Mux(opens, int(start), kept) + added, kept))]
            outputs.append(kept)
        m.d.comb += self.o.payload.eq(Cat(outputs))
        with m.If(move):
            m.d.sync += self.o.valid.eq(valid & closes)
        return m

    def _table(self, x: Any, place: int) -> list[Any]:
        """Return the partial sums of one group of a beat."""
        size, port = self._unit.group, self._unit.input
        lanes = [port.lane(x, place * size + lane) for lane in range(size)]
        sums = [sum((lane for j, lane in enumerate(lanes[:3]) if k >> j & 1), Const(0, 1)) for k in range(ENTRIES)]
        if size == 3:
            return sums
        return [lanes[3] + plus - minus for plus, minus in zip(sums, reversed(sums), strict=True)]

    def _read(self, m: Any, tables: list[list[Any]], code: Any) -> Any:
        """Return the sum, signed, of the entries that a row's bits address."""
        size, found = self._unit.group, []
        for place, entries in enumerate(tables):
            part = code[place * size : (place + 1) * size]
            entry = Array(entries)[part if size == 3 else part[:3] ^ (~part[3]).replicate(3)]
            found.append(entry if size == 3 else Mux(part[3], entry, ~entry))
        return Cat(total(m, found), Const(0, 1)).as_signed() if size == 3 else total(m, found)


def random_weights(bits: int, rows: int, columns: int, random: np.random.Generator) -> IntArray:
    """Return weights (rows, columns) of so many bits, -1 and +1 at one bit."""
    half = 1 << (bits - 1)
    return random.choice([-1, 1], (rows, columns)) if bits == 1 else random.integers(-half, half, (rows, columns))


def lut_positions(bits: int, pe: int, simd: int) -> tuple[int, int]:
    """Return the logic of 4 tables for 4 rows, and of an array of `pe * simd` multiply-accumulators."""
    random = np.random.default_rng(0)
    dot = AddSubtract(WIDTH, "unsigned") if bits == 1 else Multiply(WIDTH, "unsigned", bits)
    weights = random_weights(bits, pe, 48, random)
    array = MatrixVector(weights, WIDTH, "unsigned", pe, simd, dot=dot, rom="block")
    element = LookUp(random_weights(bits, 4, 48, random), bits, tables=4)
    return synthesise(element, dsp=False).logic, synthesise(array, dsp=False).logic


RECORD = "unpu"
SEEDS = range(3)  # cycles and cells are the same for all


def reproduce(seed: int) -> dict[str, float]:
    """Multiply by random weights of every precision, count cycles, and the logic at both ends."""
    random, wrong, pace = np.random.default_rng(seed), 0, {}
    for bits in range(1, WIDEST + 1):
        unit = LookUp(random_weights(bits, 2, 12, random), bits)
        frames = random.integers(0, 1 << WIDTH, (3, 12))
        run = simulate(unit, frames)
        wrong += int((run.outputs != np.einsum("fc,rc->fr", frames, unit.weights)).sum())
        pace[bits] = run.interval
    per_bit = [pace[bits] / bits for bits in range(2, WIDEST + 1)]
    (wide, wide_mac), (narrow, narrow_mac) = lut_positions(16, 1, 3), lut_positions(1, 4, 16)
    return {
        "wrong_outputs": float(wrong),
        "most_cycles_a_bit": max(per_bit),
        "least_cycles_a_bit": min(per_bit),
        "speed_of_1_bit": pace[16] / pace[1],
        "saving_at_16_bits": 100 * (1 - wide / wide_mac),
        "saving_at_1_bit": 100 * (1 - narrow / narrow_mac),
        "efficiency_of_1_bit": (wide / 3) / (narrow / 64),
    }


LUTS = (
    "Cells of an FPGA stand for energy, and there a table loses: to choose one of eight sums takes more look-up tables "
    "than the adders that it saves, for these have carry chains of their own."
)
CLOSE = (
    "The margin is small, and another version of the synthesis tool may turn it round: both elements have nearly the "
    "same logic, so that the gain is little more than that of the throughput."
)
CLAIMS: tuple[Claim, ...] = (
    Exact("any-precision", "wrong_outputs", "==", 0.0, unit="outputs"),
    Exact("time-follows-bits", "most_cycles_a_bit", "==", "least_cycles_a_bit", unit="cycles"),
    Exact("throughput-scales-with-bits", "speed_of_1_bit", "==", 7372 / 345.6, tolerance=0.01, unit="x"),
    Exact("energy-at-16-bits", "saving_at_16_bits", ">=", 23.1, unit="%", remark=LUTS),
    Exact("energy-at-1-bit", "saving_at_1_bit", ">=", 53.6, unit="%", remark=LUTS),
    Exact("efficiency-scales-with-bits", "efficiency_of_1_bit", ">=", 50.6 / 3.08, unit="x", remark=CLOSE),
)
QUANTIZERS: tuple[Quantizer, ...] = ()  # it takes any integer weights

if __name__ == "__main__":
    raise SystemExit(main())
