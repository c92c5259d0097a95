r"""What stands between units: a skid buffer, a FIFO and a width converter.

All three hand on the numbers they get. They follow the handshake of `ports`: `valid` is a register and never waits for
`ready`. Latencies count from the cycle in which a beat is taken to the cycle in which it is offered: a single register
has latency 1.

| unit | what it is for | latency | interval | `ready` comes from |
|---|---|---|---|---|
| `Skid` | cuts both paths, forward and backward | 1 | beats | a register |
| `Fifo` | room for beats while the consumer computes | 1, or 2 in block memory | beats | a register, but at depth 1 |
| `WidthConverter` | more or fewer lanes | see there | see there | downstream, through one gate or two |
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

from amaranth.hdl import Cat, Elaboratable, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from reference_impls.fpga.ports import IntArray, Port

LUT_DEPTH = 64
"""Deepest FIFO kept in LUT memory; a deeper one is read through a register, so that it can be block memory."""


@dataclass(frozen=True)
class Skid:
    """A skid buffer: two registers that cut the paths of `valid`, payload and `ready`, at one beat a cycle.

    Latency 1, interval `port.beats`. It holds at most two beats; `ready` falls the cycle after the second one came.

    Attributes:
        port: what passes.
    """

    port: Port

    @property
    def label(self) -> str:
        """Name for tables."""
        return "skid"

    @property
    def input(self) -> Port:
        """The port."""
        return self.port

    @property
    def output(self) -> Port:
        """The port."""
        return self.port

    @property
    def interval(self) -> int:
        """One cycle a beat."""
        return self.port.beats

    @property
    def latency(self) -> int:
        """One register."""
        return 1

    @property
    def depth(self) -> int:
        """It wants no FIFO before it."""
        return 0

    def model(self, frames: IntArray) -> IntArray:
        """Return the frames as they are."""
        return frames

    def build(self) -> Any:
        """Return a new component with the streams `i` and `o`."""
        return _Skid(self.port)


@dataclass(frozen=True)
class Fifo:
    """A first-in first-out queue of `depth` beats, at one beat a cycle.

    Up to `LUT_DEPTH` beats it reads its memory in the cycle of use (LUT memory on an FPGA) and has latency 1; deeper
    ones read through a register (block memory) and have latency 2. Interval `port.beats`. With depth 1 it is a single
    register whose `ready` looks at the `ready` downstream.

    Attributes:
        port: what passes.
        depth: beats it holds.
    """

    port: Port
    depth: int

    def __post_init__(self) -> None:
        """Raise ValueError for a depth below 1."""
        if self.depth < 1:
            raise ValueError(f"a FIFO needs a depth of at least 1, not {self.depth}; leave it out instead")

    @property
    def label(self) -> str:
        """Name and depth for tables."""
        return f"FIFO of {self.depth}"

    @property
    def input(self) -> Port:
        """The port."""
        return self.port

    @property
    def output(self) -> Port:
        """The port."""
        return self.port

    @property
    def interval(self) -> int:
        """One cycle a beat."""
        return self.port.beats

    @property
    def latency(self) -> int:
        """1, or 2 where the memory is read through a register."""
        return 1 if self.depth <= LUT_DEPTH else 2

    def model(self, frames: IntArray) -> IntArray:
        """Return the frames as they are."""
        return frames

    def build(self) -> Any:
        """Return a new component with the streams `i` and `o`."""
        return _Fifo(self.port, self.depth)


@dataclass(frozen=True)
class WidthConverter:
    r"""Changes the lanes of a beat: `port.lanes` elements in, `lanes` elements out, the frame's order kept.

    Where one number of lanes divides the other, one register of the wider beat does it. Otherwise the beats are split
    to $g = \gcd(\mathrm{port.lanes}, \mathrm{lanes})$ lanes and gathered again, a cycle for each $g$ elements.

    | case | interval | latency |
    |---|---|---|
    | fewer lanes, a divisor | `output.beats` | 1 |
    | more lanes, a multiple $r$ | `input.beats` | $r$ |
    | neither | elements / g | 1 + lanes / g |

    Attributes:
        port: what comes in.
        lanes: elements of a beat that goes out; must divide the elements of a frame.
    """

    port: Port
    lanes: int

    def __post_init__(self) -> None:
        """Raise ValueError where nothing is to convert or a frame would end inside a beat."""
        if self.lanes < 1:
            raise ValueError(f"lanes must be at least 1, not {self.lanes}")
        if self.lanes == self.port.lanes:
            raise ValueError(f"both sides have {self.lanes} lanes: leave the converter out")
        if self.port.elements % self.lanes:
            raise ValueError(f"{self.lanes} lanes do not divide the {self.port.elements} elements of a frame")

    @property
    def between(self) -> int:
        """Lanes of the narrower beats inside: the greatest common divisor of both sides' lanes."""
        return gcd(self.port.lanes, self.lanes)

    @property
    def label(self) -> str:
        """Both widths for tables."""
        return f"{self.port.lanes} to {self.lanes} lanes"

    @property
    def input(self) -> Port:
        """What comes in."""
        return self.port

    @property
    def output(self) -> Port:
        """The same elements in beats of `lanes`."""
        return Port(self.port.width, self.port.kind, self.lanes, self.port.elements // self.lanes)

    @property
    def interval(self) -> int:
        """Cycles a frame: the beats of the narrowest point."""
        return self.port.elements // self.between

    @property
    def latency(self) -> int:
        """One cycle to split, and one for each narrow beat of a gathered one."""
        split = 1 if self.port.lanes > self.between else 0
        gather = self.lanes // self.between if self.lanes > self.between else 0
        return split + gather

    @property
    def depth(self) -> int:
        """It wants no FIFO before it."""
        return 0

    def model(self, frames: IntArray) -> IntArray:
        """Return the frames as they are."""
        return frames

    def build(self) -> Any:
        """Return a new component with the streams `i` and `o`."""
        return _WidthConverter(self)


class _Skid(wiring.Component):
    def __init__(self, port: Port) -> None:
        super().__init__({"i": In(port.signature()), "o": Out(port.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002  Amaranth's signature
        m = Module()
        payload = Signal.like(self.i.payload)
        valid = Signal()
        spare = Signal.like(self.i.payload)
        spare_valid = Signal()
        m.d.comb += [self.o.payload.eq(payload), self.o.valid.eq(valid), self.i.ready.eq(~spare_valid)]
        with m.If(self.o.ready | ~valid):
            m.d.sync += spare_valid.eq(0)
            with m.If(spare_valid):
                m.d.sync += [payload.eq(spare), valid.eq(1)]
            with m.Else():
                m.d.sync += [payload.eq(self.i.payload), valid.eq(self.i.valid)]
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [spare.eq(self.i.payload), spare_valid.eq(1)]
        return m


class _Fifo(wiring.Component):
    def __init__(self, port: Port, depth: int) -> None:
        self._bits = port.bits
        self._depth = depth
        super().__init__({"i": In(port.signature()), "o": Out(port.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002
        m = Module()
        if self._depth == 1:
            valid = Signal()
            payload = Signal.like(self.i.payload)
            m.d.comb += [self.o.payload.eq(payload), self.o.valid.eq(valid), self.i.ready.eq(~valid | self.o.ready)]
            with m.If(self.i.ready):
                m.d.sync += [valid.eq(self.i.valid), payload.eq(self.i.payload)]
            return m
        kind = SyncFIFO if self._depth <= LUT_DEPTH else SyncFIFOBuffered
        m.submodules.queue = queue = kind(width=self._bits, depth=self._depth)
        wiring.connect(m, wiring.flipped(self.i), queue.w_stream)
        wiring.connect(m, queue.r_stream, wiring.flipped(self.o))
        return m


class _WidthConverter(wiring.Component):
    def __init__(self, converter: WidthConverter) -> None:
        self._converter = converter
        super().__init__({"i": In(converter.input.signature()), "o": Out(converter.output.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002
        m = Module()
        converter = self._converter
        narrow = converter.between * converter.port.width
        tail: Any = wiring.flipped(self.i)
        if converter.port.lanes > converter.between:
            m.submodules.split = split = _Split(narrow, converter.port.lanes // converter.between)
            wiring.connect(m, tail, split.i)
            tail = split.o
        if converter.lanes > converter.between:
            m.submodules.gather = gather = _Gather(narrow, converter.lanes // converter.between)
            wiring.connect(m, tail, gather.i)
            tail = gather.o
        wiring.connect(m, tail, wiring.flipped(self.o))
        return m


class _Split(wiring.Component):
    """A beat of `ratio * bits` bits in, `ratio` beats of `bits` bits out, the lowest first."""

    def __init__(self, bits: int, ratio: int) -> None:
        self._ratio = ratio
        self._bits = bits
        wide, narrow = Port(bits * ratio, "unsigned", 1, 1), Port(bits, "unsigned", 1, 1)
        super().__init__({"i": In(wide.signature()), "o": Out(narrow.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002
        m = Module()
        rest = Signal.like(self.i.payload)
        left = Signal(range(self._ratio + 1))  # narrow beats still in `rest`
        valid = Signal()
        m.d.comb += [
            self.o.payload.eq(rest[: self._bits]),
            self.o.valid.eq(valid),
            self.i.ready.eq(~valid | ((left == 1) & self.o.ready)),
        ]
        with m.If(self.i.ready):
            m.d.sync += [rest.eq(self.i.payload), left.eq(self._ratio), valid.eq(self.i.valid)]
        with m.Elif(self.o.ready):
            m.d.sync += [rest.eq(rest >> self._bits), left.eq(left - 1)]
        return m


class _Gather(wiring.Component):
    """`ratio` beats of `bits` bits in, a beat of `ratio * bits` bits out, the first lowest."""

    def __init__(self, bits: int, ratio: int) -> None:
        self._ratio = ratio
        self._bits = bits
        wide, narrow = Port(bits * ratio, "unsigned", 1, 1), Port(bits, "unsigned", 1, 1)
        super().__init__({"i": In(narrow.signature()), "o": Out(wide.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002
        m = Module()
        held = Signal.like(self.o.payload)
        count = Signal(range(self._ratio))
        valid = Signal()
        taken = Signal()
        m.d.comb += [
            self.o.payload.eq(held),
            self.o.valid.eq(valid),
            self.i.ready.eq(~valid | self.o.ready),
            taken.eq(self.i.valid & self.i.ready),
        ]
        with m.If(taken):
            m.d.sync += held.eq(Cat(held[self._bits :], self.i.payload))
            with m.If(count == self._ratio - 1):
                m.d.sync += [count.eq(0), valid.eq(1)]
            with m.Else():
                m.d.sync += [count.eq(count + 1), valid.eq(0)]
        with m.Elif(self.o.ready):
            m.d.sync += valid.eq(0)
        return m
