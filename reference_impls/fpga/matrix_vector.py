r"""The folded matrix-vector unit: PE rows times SIMD columns of a weight matrix in each cycle.

$$ y_r = \mathrm{bias}_r + \sum_c W_{r,c}\,x_c, \qquad
   NF = \mathrm{rows} / PE, \quad SF = \mathrm{columns} / SIMD $$

Weights stay in the unit and vectors stream through it: for each of the NF groups of PE rows it goes once through the SF
beats of the vector, so a vector takes NF times SF cycles (Umuroglu et al., FINN, FPGA 2017, Sec. 4.2.1 and 4.3). The
beats are taken from the stream during the first group, kept in a buffer, and read again for the other groups.

```
i --+--> buffer --.
    |             v
    '----------> mux --> x --> dot-product elements --> value --> accumulators --> o
 counters --> weight ROM --> w --^            start ROM --> start --^
```

Three registers follow each other (x and w; value; accumulator), four where the ROM is block memory. They move together
unless a finished output waits: then everything stands still.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from reference_impls.fpga.adders import gain
from reference_impls.fpga.dot import choose
from reference_impls.fpga.element import Dot
from reference_impls.fpga.ports import IntArray, Kind, Port, smallest
from reference_impls.fpga.rom import Rom, Style, pack


@dataclass(frozen=True, eq=False)
class MatrixVector:
    """Multiply vectors by a constant matrix of integers.

    Contract:
        Input: `vectors` vectors of `columns` elements, `simd` a beat.
        Output: `vectors` vectors of `rows` accumulators, `pe` a beat, row `nf * pe + lane` in beat `nf`; the smallest
            element that holds every value that the weights and the kind of input allow, usually signed.
        Interval: `vectors * NF * SF * dot.cycles`.
        Latency: SF + 2 cycles, the first beat included, with one more for block memory; with a bit-serial element
            `SF * dot.cycles + 2`.
        Depth: SF. The unit takes its SF beats in the first of NF * dot.cycles passes and none in the others.

    Attributes:
        weights: (rows, columns).
        width: bits of an input element.
        kind: kind of an input element.
        pe: rows at a time; divides the rows.
        simd: columns at a time; divides the columns.
        vectors: vectors of a frame: 1 for a fully connected layer, the pixels of the output for a convolution.
        bias: (rows,), or None.
        dot: how to multiply and add; None for the cheapest element that holds the weights.
        rom: where the weights are kept.
    """

    weights: IntArray
    width: int
    kind: Kind
    pe: int
    simd: int
    vectors: int = 1
    bias: IntArray | None = None
    dot: Dot | None = None
    rom: Style = "auto"

    def __post_init__(self) -> None:
        """Raise ValueError for parameters that do not fit together; keep private, read-only arrays."""
        weights = np.array(self.weights)
        if weights.ndim != 2 or weights.size == 0 or weights.dtype.kind not in "iu":
            raise ValueError(f"weights must be a (rows, columns) integer array, not {weights.dtype} {weights.shape}")
        rows, columns = weights.shape
        if self.pe < 1 or rows % self.pe:
            raise ValueError(f"PE {self.pe} does not divide the {rows} rows")
        if self.simd < 1 or columns % self.simd:
            raise ValueError(f"SIMD {self.simd} does not divide the {columns} columns")
        if self.vectors < 1:
            raise ValueError(f"a frame has at least 1 vector, not {self.vectors}")
        bias = np.zeros(rows, dtype=np.int64) if self.bias is None else np.array(self.bias)
        if bias.shape != (rows,) or bias.dtype.kind not in "iu":
            raise ValueError(f"bias must be {rows} integers, one a row, not {bias.dtype} {bias.shape}")
        for name, value in (("weights", weights), ("bias", bias)):
            kept = value.astype(np.int64)
            kept.flags.writeable = False
            object.__setattr__(self, name, kept)
        if self.dot is not None and (self.dot.width, self.dot.kind) != (self.width, self.kind):
            raise ValueError(
                f"{self.dot.label} is for {self.dot.width} bits, {self.dot.kind}; the input is {self.input}"
            )
        _ = self.weight_rom  # refuses weights that the element cannot hold, and a ROM that cannot be

    @property
    def rows(self) -> int:
        """Outputs of a vector."""
        return int(self.weights.shape[0])

    @property
    def columns(self) -> int:
        """Inputs of a vector."""
        return int(self.weights.shape[1])

    @property
    def row_folds(self) -> int:
        """NF: groups of PE rows."""
        return self.rows // self.pe

    @property
    def column_folds(self) -> int:
        """SF: beats of a vector."""
        return self.columns // self.simd

    @cached_property
    def element(self) -> Dot:
        """The dot-product element."""
        return choose(self.weights, self.width, self.kind) if self.dot is None else self.dot

    @property
    def label(self) -> str:
        """Size, folding and element for tables."""
        return f"matrix-vector {self.rows} x {self.columns}, PE {self.pe}, SIMD {self.simd}, {self.element.label}"

    @cached_property
    def input(self) -> Port:
        """Vectors, `simd` elements a beat."""
        return Port(self.width, self.kind, self.simd, self.vectors * self.column_folds)

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """Least and greatest output over all rows and inputs."""
        ends = np.stack([self.weights * self.input.low, self.weights * self.input.high])
        low = ends.min(axis=0).sum(axis=1) + self._bias
        high = ends.max(axis=0).sum(axis=1) + self._bias
        return int(low.min()), int(high.max())

    @cached_property
    def output(self) -> Port:
        """Accumulators, `pe` a beat."""
        return Port(*smallest(*self.bounds), self.pe, self.vectors * self.row_folds)

    @property
    def interval(self) -> int:
        """Cycles a frame: every pass over every vector."""
        return self.vectors * self.row_folds * self.column_folds * self.element.cycles

    @property
    def latency(self) -> int:
        """The passes of the first group, and the registers after the first."""
        return self.column_folds * self.element.cycles + 1 + max(1, self.weight_rom.latency)

    @property
    def depth(self) -> int:
        """SF: a whole vector waits while the one before it is worked on."""
        return self.column_folds

    @property
    def _bias(self) -> IntArray:
        return np.zeros(self.rows, dtype=np.int64) if self.bias is None else self.bias

    def model(self, frames: IntArray) -> IntArray:
        """Compute on integers: (frames, vectors * columns) to (frames, vectors * rows)."""
        vectors = frames.reshape(len(frames), self.vectors, self.columns)
        products: IntArray = vectors @ self.weights.T + self._bias
        return products.reshape(len(frames), -1)

    @cached_property
    def weight_rom(self) -> Rom:
        """The codes: a word of PE * SIMD weights for each cycle of a vector."""
        dot = self.element
        codes = dot.encode(self.weights).reshape(dot.cycles, self.row_folds, self.pe, self.column_folds, self.simd)
        words = codes.transpose(1, 0, 3, 2, 4).reshape(-1, self.pe * self.simd)
        return Rom(pack(words, dot.bits), self.pe * self.simd * dot.bits, self.rom)

    @cached_property
    def starts(self) -> tuple[IntArray, int | None]:
        r"""Where the accumulators start, (rows,), and the lowest bit that they leave out, if they do.

        The start is the bias and the element's offset. Bipolar inputs make all outputs of a row even or all odd: where
        the rows agree in that, the accumulator holds the output without its lowest bit.
        """
        start = self._bias + self.element.offset(self.weights)
        if self.element.cycles > 1:  # the first pass adds ~v = -v - 1 instead of -v
            start = start + gain(self.kind) * (self.column_folds << (self.element.cycles - 1))
        parity = start & 1
        if gain(self.kind) == 2 and (parity == parity[0]).all():
            return start >> 1, int(parity[0])
        return start, None

    def build(self) -> Any:
        """Return a new component with the streams `i` and `o`."""
        return _MatrixVector(self)


class _Element(wiring.Component):
    """A dot-product element: activations `x` and codes `w` in, `y` out, no register."""

    def __init__(self, dot: Dot, simd: int) -> None:
        self._dot = dot
        self._port = Port(dot.width, dot.kind, simd, 1)
        super().__init__(
            {
                "x": In(unsigned(self._port.bits)),
                "w": In(unsigned(simd * dot.bits)),
                "y": Out(unsigned(dot.result(simd)[0])),
            }
        )

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002
        m = Module()
        size, simd = self._dot.bits, self._port.lanes
        inputs = [self._port.lane(self.x, lane) for lane in range(simd)]
        codes = [self.w[lane * size : (lane + 1) * size] for lane in range(simd)]
        m.d.comb += self.y.eq(self._dot.build(m, inputs, codes))
        return m


class _Step(NamedTuple):
    """One step on its way through the registers."""

    valid: Any  # there is a step here
    first: Any  # first beat of a pass
    last: Any  # last beat of a row
    turn: Any  # which pass
    row: Any  # which row fold


class _MatrixVector(wiring.Component):
    def __init__(self, unit: MatrixVector) -> None:
        self._unit = unit
        super().__init__({"i": In(unit.input.signature()), "o": Out(unit.output.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002
        m = Module()
        unit, dot = self._unit, self._unit.element
        advance = Signal()  # everything moves, unless a finished output waits
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)
        x, step, address = self._schedule(m, advance)

        m.submodules.weights = weights = unit.weight_rom.build()
        m.d.comb += [weights.address.eq(address), weights.enable.eq(advance)]
        for stage in range(max(1, unit.weight_rom.latency)):
            x = _register(m, advance, x, f"x_{stage}")
            step = _Step(*(_register(m, advance, v, f"{n}_{stage}") for n, v in step._asdict().items()))

        values = []
        size = unit.simd * dot.bits
        for lane in range(unit.pe):
            m.submodules[f"element_{lane}"] = element = _Element(dot, unit.simd)
            m.d.comb += [element.x.eq(x), element.w.eq(weights.data[lane * size : (lane + 1) * size])]
            values.append(_register(m, advance, element.y, f"value_{lane}"))
        starts = self._starts(m, advance, step.row)
        step = _Step(*(_register(m, advance, v, f"{n}_value") for n, v in step._asdict().items()))

        m.d.comb += self.o.payload.eq(
            Cat(self._accumulate(m, advance, step, v, s) for v, s in zip(values, starts, strict=True))
        )
        with m.If(advance):
            m.d.sync += self.o.valid.eq(step.valid & step.last)
        return m

    def _schedule(self, m: Any, advance: Any) -> tuple[Any, _Step, Any]:
        """Count column folds, passes and row folds; return the beat, the step and the address of its weights."""
        unit = self._unit
        passes, columns, rows = unit.element.cycles, unit.column_folds, unit.row_folds
        column, turn, row = Signal(range(columns)), Signal(range(passes)), Signal(range(rows))
        address = Signal(range(unit.weight_rom.depth))
        last_column, last_turn, last_row = column == columns - 1, turn == passes - 1, row == rows - 1
        fresh = Signal(init=1)  # the vector comes from the stream, not from the buffer
        valid = Signal()
        m.d.comb += [valid.eq(~fresh | self.i.valid), self.i.ready.eq(advance & fresh)]
        with m.If(advance & valid):
            m.d.sync += column.eq(Mux(last_column, 0, column + 1))
            m.d.sync += address.eq(Mux(last_column & last_turn & last_row, 0, address + 1))
            with m.If(last_column):
                m.d.sync += fresh.eq(last_turn & last_row)
                m.d.sync += turn.eq(Mux(last_turn, 0, turn + 1))
                with m.If(last_turn):
                    m.d.sync += row.eq(Mux(last_row, 0, row + 1))
        x = self.i.payload
        if rows * passes > 1:
            x = Mux(fresh, x, self._buffer(m, column))
        return x, _Step(valid, column == 0, last_column & last_turn, turn, row), address

    def _buffer(self, m: Any, column: Any) -> Any:
        """Keep the beats that are taken; return the one of this column fold."""
        take = self.i.valid & self.i.ready
        if self._unit.column_folds == 1:
            return _register(m, take, self.i.payload, "kept")
        m.submodules.buffer = memory = Memory(
            shape=unsigned(self._unit.input.bits), depth=self._unit.column_folds, init=[]
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [write.addr.eq(column), write.data.eq(self.i.payload), write.en.eq(take), read.addr.eq(column)]
        return read.data

    def _starts(self, m: Any, advance: Any, row: Any) -> list[Any]:
        """Return where each lane's accumulator starts, a register later than `row`."""
        unit = self._unit
        starts, _ = unit.starts
        size, kind = smallest(int(starts.min()), int(starts.max()))
        size = max(size, unit.element.cycles + 1)
        words = pack(starts.reshape(unit.row_folds, unit.pe), size)
        m.submodules.starts = rom = Rom(words, size * unit.pe, "lut").build()
        m.d.comb += [rom.address.eq(row), rom.enable.eq(advance)]
        lanes = [rom.data[lane * size : (lane + 1) * size] for lane in range(unit.pe)]
        return [lane.as_signed() if kind == "signed" else lane for lane in lanes]

    def _accumulate(self, m: Any, advance: Any, step: _Step, value: Any, start: Any) -> Any:
        """Add a lane's value to its accumulator; return the output."""
        unit = self._unit
        passes, width = unit.element.cycles, unit.output.width
        _, lowest = unit.starts
        halved = lowest is not None
        total = Signal(max(1, width - halved))
        value = value.as_signed() if unit.element.result(unit.simd)[1] == "signed" else value
        before = Mux(step.first, start, total)
        if passes > 1:
            digit = Cat(*reversed(start[:passes])).bit_select(step.turn, 1)  # its bits follow as the sum doubles
            restart = Mux(step.turn == 0, start >> (passes - 1), Cat(digit, total))
            before = Mux(step.first, restart, total)
            wide = Cat(value, Const(0, 1)).as_signed()
            value = Mux(step.turn == 0, ~wide, wide)
        if gain(unit.kind) == 2 and not halved:
            value = value << 1
        with m.If(advance & step.valid):
            m.d.sync += total.eq(before + value)
        return Cat(Const(lowest, 1), total)[:width] if halved else total


def _register(m: Any, enable: Any, value: Any, name: str) -> Any:
    value = Value.cast(value)
    held = Signal(value.shape(), name=name)
    with m.If(enable):
        m.d.sync += held.eq(value)
    return held
