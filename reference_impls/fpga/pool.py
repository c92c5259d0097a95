r"""Max-pooling of a streamed feature map, with one line of partial maxima.

Max-pooling commutes with a rising activation, so it may stand before or after the thresholds. After them, on bipolar
elements, the maximum is an OR (Umuroglu et al., FINN, FPGA 2017, Sec. 4.2.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from reference_impls.fpga.ports import IntArray, Kind, Port


@dataclass(frozen=True)
class MaxPool:
    r"""Reduce each `kernel` x `kernel` square of a map to its greatest element, channel by channel.

    Squares do not overlap (the stride is the kernel); rows and columns that fill no square are dropped.

    Contract:
        Input: `height` x `width` x `channels` elements, rows first, channels fastest, `lanes` a beat.
        Output: (height // kernel) x (width // kernel) x `channels`, in the same order.
        Interval: one cycle an input beat, $HWC/\text{lanes}$.
        Latency: $((K-1)W + K-1)C/\text{lanes} + 1$: the beats up to the first square's last pixel, and a register.

    Attributes:
        height: rows of the map.
        width: columns of the map.
        channels: elements of a pixel.
        kernel: rows and columns of a square.
        element_width: bits of an element.
        kind: "signed", "unsigned" or "bipolar" elements.
        lanes: elements of a beat; divides the channels.
    """

    height: int
    width: int
    channels: int
    kernel: int
    element_width: int
    kind: Kind = "signed"
    lanes: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for parameters that do not fit together."""
        if min(self.height, self.width, self.channels, self.kernel) < 1:
            raise ValueError(f"sizes must be at least 1: {self}")
        if self.kernel > min(self.height, self.width):
            raise ValueError(f"a square of {self.kernel} does not fit a map of {self.height} x {self.width}")
        if self.lanes < 1 or self.channels % self.lanes:
            raise ValueError(f"lanes {self.lanes} must divide the {self.channels} channels")
        _ = self.input  # refuses element widths that cannot be

    @property
    def groups(self) -> int:
        """Beats of a pixel."""
        return self.channels // self.lanes

    @property
    def label(self) -> str:
        """What it is, with its folding."""
        size = f"{self.height} x {self.width} x {self.channels}"
        return f"max-pool {self.kernel} x {self.kernel} of {size} ({self.lanes} lanes)"

    @property
    def input(self) -> Port:
        """The map."""
        return Port(self.element_width, self.kind, self.lanes, self.height * self.width * self.groups)

    @property
    def output(self) -> Port:
        """The maxima."""
        beats = (self.height // self.kernel) * (self.width // self.kernel) * self.groups
        return Port(self.element_width, self.kind, self.lanes, beats)

    @property
    def interval(self) -> int:
        """One cycle an input beat."""
        return self.input.beats

    @property
    def latency(self) -> int:
        """The beats up to the last pixel of the first square, and a register."""
        return ((self.kernel - 1) * self.width + self.kernel - 1) * self.groups + 1

    @property
    def depth(self) -> int:
        """No FIFO: it never makes its producer wait."""
        return 0

    def model(self, frames: IntArray) -> IntArray:
        """Compute on integers: (frames, input elements) to (frames, output elements)."""
        maps = frames.reshape(-1, self.height, self.width, self.channels)
        rows, columns, side = self.height // self.kernel, self.width // self.kernel, self.kernel
        squares = maps[:, : rows * side, : columns * side].reshape(-1, rows, side, columns, side, self.channels)
        found: IntArray = squares.max(axis=(2, 4)).reshape(len(frames), -1)
        return found

    def build(self) -> Any:
        """Return the component: stream `i` in, stream `o` out."""
        return _MaxPool(self)


class _MaxPool(wiring.Component):
    def __init__(self, unit: MaxPool) -> None:
        self.unit = unit
        super().__init__({"i": In(unit.input.signature()), "o": Out(unit.output.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002  Amaranth's signature
        m, unit = Module(), self.unit
        side, slots = unit.kernel, -(-unit.width // unit.kernel) * unit.groups
        m.submodules.line = line = Memory(shape=unsigned(unit.input.bits), depth=max(2, slots), init=[])
        writer = line.write_port()
        reader = line.read_port(transparent_for=(writer,))
        taken, move = Signal(), Signal()
        m.d.comb += [move.eq(~self.o.valid | self.o.ready), self.i.ready.eq(move), taken.eq(self.i.valid & move)]

        group, x, y = (Signal(range(max(2, n))) for n in (unit.groups, unit.width, unit.height))
        kx, ky, column = (Signal(range(max(2, n))) for n in (side, side, slots))  # column: slot of group 0
        next_group, next_column = Signal.like(group), Signal.like(column)
        pixel_ends, row_ends, map_ends = group == unit.groups - 1, x == unit.width - 1, y == unit.height - 1
        m.d.comb += [
            next_group.eq(Mux(pixel_ends, 0, group + 1)),
            next_column.eq(
                Mux(pixel_ends, Mux(row_ends, 0, Mux(kx == side - 1, column + unit.groups, column)), column)
            ),
        ]
        with m.If(taken):
            m.d.sync += [group.eq(next_group), column.eq(next_column)]
            with m.If(pixel_ends):
                m.d.sync += [x.eq(Mux(row_ends, 0, x + 1)), kx.eq(Mux(row_ends | (kx == side - 1), 0, kx + 1))]
                with m.If(row_ends):
                    m.d.sync += [y.eq(Mux(map_ends, 0, y + 1)), ky.eq(Mux(map_ends | (ky == side - 1), 0, ky + 1))]

        # The partial maximum of the next beat's slot is read while this beat's is written.
        fresh = (kx == 0) & (ky == 0)
        pairs = [(unit.input.lane(self.i.payload, k), unit.input.lane(reader.data, k)) for k in range(unit.lanes)]
        greatest = Cat(Mux(fresh | (new > old), new, old)[: unit.element_width] for new, old in pairs)
        m.d.comb += [
            reader.addr.eq((next_column + next_group)[: len(reader.addr)]),
            reader.en.eq(taken),
            writer.addr.eq((column + group)[: len(writer.addr)]),
            writer.data.eq(greatest),
            writer.en.eq(taken),
        ]
        with m.If(move):
            m.d.sync += self.o.valid.eq(taken & (kx == side - 1) & (ky == side - 1))
            m.d.sync += self.o.payload.eq(greatest)
        return m
