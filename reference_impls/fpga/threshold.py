r"""Multi-threshold activation: batch norm, non-linearity and quantizer as integer comparisons.

A monotone step function of an integer accumulator is a list of thresholds: its output level is the number of thresholds
that the accumulator has reached (Umuroglu et al., FINN, FPGA 2017, Sec. 4.2.2, for one threshold; Blott et al., FINN-R,
TRETS 2018, for several). A channel whose batch norm has a negative scale falls instead of rising: it counts down.

The hardware finds the level by binary search, one bit of it in each pipeline stage, the known form of FINN's
register-transfer library: an activation of b bits takes b comparators a lane, not $2^b - 1$.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from amaranth.hdl import Array, Cat, Const, Elaboratable, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from reference_impls.fpga.delay import delay
from reference_impls.fpga.ports import IntArray, Kind, Port, smallest
from reference_impls.fpga.rom import Rom, pack


@dataclass(frozen=True, eq=False)
class Threshold:
    r"""Map an accumulator of channel $c$ to one of `levels + 1` values.

    $$ n = \#\{k : t_{c,k} \le a\}, \qquad y = v_n \text{ where } c \text{ rises},\quad
       y = v_{L-n} \text{ where it falls} $$

    Contract:
        Input: `vectors` vectors of `channels` accumulators, channels fastest, `lanes` a beat.
        Output: as many elements in the same order; bipolar where the values are (-1, 1), otherwise the smallest
            element that holds the values.
        Interval: one cycle a beat, `vectors * channels / lanes`.
        Latency: one cycle for the output, and for each of the $b = \lceil \log_2(L + 1) \rceil$ search steps the
            latency of its thresholds' memory (see `rom`): none for a constant, 1 in LUTs, 2 in block memory. With one
            threshold 1 cycle where every channel has its lane; 2, or 3 with block memory, where channels take turns.

    Attributes:
        thresholds: (channels, levels), ascending along a row (equal neighbours skip a value). A threshold may lie
            outside what the accumulator holds: it then always or never counts.
        values: what is emitted, `levels + 1` integers that do not fall.
        width: bits of an accumulator.
        kind: "signed" or "unsigned" accumulator.
        descending: (channels,), true where the channel falls; None where none does.
        lanes: elements of a beat; divides the channels.
        vectors: vectors of a frame.
    """

    thresholds: IntArray
    values: tuple[int, ...]
    width: int
    kind: Kind = "signed"
    descending: NDArray[np.bool_] | None = None
    lanes: int = 1
    vectors: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for parameters that do not fit together; keep private, read-only arrays."""
        thresholds = np.array(self.thresholds)
        if thresholds.ndim != 2 or thresholds.size == 0 or thresholds.dtype.kind not in "iu":
            raise ValueError(
                f"thresholds must be a (channels, levels) integer array, not {thresholds.dtype} {thresholds.shape}"
            )
        channels, levels = thresholds.shape
        if (np.diff(thresholds) < 0).any():
            row = int(np.flatnonzero((np.diff(thresholds) < 0).any(axis=1))[0])
            raise ValueError(f"the thresholds of channel {row} must ascend: {thresholds[row].tolist()}; sort them")
        values = tuple(int(value) for value in self.values)
        if len(values) != levels + 1 or any(a > b for a, b in pairwise(values)):
            raise ValueError(f"{levels} thresholds need {levels + 1} values that do not fall, not {values}")
        down = np.zeros(channels, dtype=np.bool_) if self.descending is None else np.array(self.descending)
        if down.shape != (channels,) or down.dtype != np.bool_:
            raise ValueError(f"descending must be {channels} booleans, not {down.dtype} {down.shape}")
        if self.kind == "bipolar":
            raise ValueError("an accumulator is signed or unsigned; a bipolar input has nothing to compare")
        if self.lanes < 1 or self.vectors < 1 or channels % self.lanes:
            raise ValueError(f"lanes {self.lanes} must divide the {channels} channels, vectors {self.vectors} be >= 1")
        for name, value in (("thresholds", thresholds.astype(np.int64)), ("descending", down)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        object.__setattr__(self, "values", values)
        _ = self.input  # refuses widths below 1

    @property
    def channels(self) -> int:
        """Rows of the thresholds."""
        return int(self.thresholds.shape[0])

    @property
    def levels(self) -> int:
        """Thresholds of a channel."""
        return int(self.thresholds.shape[1])

    @property
    def steps(self) -> int:
        """Steps of the binary search: bits of the level."""
        return self.levels.bit_length()

    @property
    def groups(self) -> int:
        """Beats of a vector."""
        return self.channels // self.lanes

    @property
    def falls(self) -> NDArray[np.bool_]:
        """(channels,), true where the channel falls."""
        return np.zeros(self.channels, dtype=np.bool_) if self.descending is None else self.descending

    @property
    def label(self) -> str:
        """What it is, with its folding."""
        return f"threshold {self.channels} x {self.levels} (PE {self.lanes})"

    @property
    def input(self) -> Port:
        """Accumulators."""
        return Port(self.width, self.kind, self.lanes, self.groups * self.vectors)

    @property
    def output(self) -> Port:
        """Values."""
        if self.values == (-1, 1):
            return Port(1, "bipolar", self.lanes, self.groups * self.vectors)
        width, kind = smallest(self.values[0], self.values[-1])
        return Port(width, kind, self.lanes, self.groups * self.vectors)

    @property
    def interval(self) -> int:
        """One cycle a beat."""
        return self.input.beats

    @property
    def latency(self) -> int:
        """The reads of all search steps, and the output register."""
        return 1 + sum(max(rom.latency for rom in self.roms(step)[0]) for step in range(self.steps))

    @property
    def depth(self) -> int:
        """No FIFO: it never makes its producer wait."""
        return 0

    def model(self, frames: IntArray) -> IntArray:
        """Compute on integers: (frames, input elements) to (frames, output elements)."""
        accumulators = frames.reshape(-1, self.channels)
        levels = np.empty_like(accumulators)
        for channel, thresholds in enumerate(self.thresholds):
            levels[:, channel] = np.searchsorted(thresholds, accumulators[:, channel], side="right")
        levels = np.where(self.falls, self.levels - levels, levels)
        return np.array(self.values, dtype=np.int64)[levels].reshape(frames.shape)

    def tables(self, step: int) -> IntArray:
        """Return the thresholds that search step `step` may need: (groups, lanes, 2 ** step).

        Thresholds are clipped to what decides: at the accumulator's least value it always counts, just above the
        greatest never. Places past the last threshold never count.
        """
        port = self.input
        clipped = np.clip(self.thresholds, port.low, port.high + 1)
        places = np.arange(1 << step) * (1 << (self.steps - step)) + (1 << (self.steps - step - 1)) - 1
        padding = np.full((self.channels, (1 << self.steps) - 1 - self.levels), port.high + 1)
        return np.hstack([clipped, padding])[:, places].reshape(self.groups, self.lanes, -1)

    def roms(self, step: int) -> tuple[tuple[Rom, ...], Kind]:
        """Return a step's memories, one a lane, and the kind of their words.

        An address is the group, above the bits of the level found so far; the group is left out where every group has
        the same thresholds.
        """
        tables = self.tables(step)
        if (tables == tables[0]).all():
            tables = tables[:1]
        width, kind = smallest(int(tables.min()), int(tables.max()))
        return tuple(Rom(pack(tables[:, lane].reshape(-1, 1), width), width) for lane in range(self.lanes)), kind

    def build(self) -> Any:
        """Return the component: stream `i` in, stream `o` out."""
        return _Threshold(self)


class _Threshold(wiring.Component):
    def __init__(self, unit: Threshold) -> None:
        self.unit = unit
        super().__init__({"i": In(unit.input.signature()), "o": Out(unit.output.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002  Amaranth's signature
        m, unit = Module(), self.unit
        move = Signal()  # the whole unit moves, or nothing does
        m.d.comb += [move.eq(~self.o.valid | self.o.ready), self.i.ready.eq(move)]
        group = Signal(range(max(2, unit.groups)))
        with m.If(move & self.i.valid):
            m.d.sync += group.eq(Mux(group == unit.groups - 1, 0, group + 1))

        valid: Any = self.i.valid
        lanes = [unit.input.lane(self.i.payload, index) for index in range(unit.lanes)]
        found: list[Any] = [Const(0, 0)] * unit.lanes  # the level's bits so far
        down = [self._falls(index, group) for index in range(unit.lanes)]
        for step in range(unit.steps):
            roms, kind = unit.roms(step)
            limits = []
            for lane, rom in enumerate(roms):
                m.submodules[f"step{step}_lane{lane}"] = reader = rom.build()
                address = Cat(found[lane], group)[: len(reader.address)]
                m.d.comb += [reader.address.eq(address), reader.enable.eq(move)]
                limits.append(reader.data.as_signed() if kind == "signed" else reader.data)
            wait = max(rom.latency for rom in roms)
            valid, group = delay(m, move, valid, wait), delay(m, move, group, wait)
            lanes, found, down = ([delay(m, move, x, wait) for x in each] for each in (lanes, found, down))
            found = [Cat(acc >= limit, bits) for acc, limit, bits in zip(lanes, limits, found, strict=True)]
        with m.If(move):
            m.d.sync += self.o.valid.eq(valid)
            m.d.sync += self.o.payload.eq(Cat(self._value(*lane) for lane in zip(found, down, strict=True)))
        return m

    def _falls(self, lane: int, group: Any) -> Any:
        """Return whether the channel on a lane falls: a constant where all its channels agree."""
        falls = [int(bit) for bit in self.unit.falls[lane :: self.unit.lanes]]
        return Const(falls[0], 1) if len(set(falls)) == 1 else Array(Const(bit, 1) for bit in falls)[group]

    def _value(self, bits: Any, down: Any) -> Any:
        """Return the element emitted for a level, counted down where the channel falls."""
        unit = self.unit
        level = Mux(down, unit.levels - bits, bits)[: unit.steps]
        values, output = unit.values, unit.output
        steps = {b - a for a, b in pairwise(values)}
        if output.kind == "bipolar":
            return level[0]
        if len(steps) == 1:
            step = steps.pop()
            total = sum((level << bit for bit in range(step.bit_length()) if step >> bit & 1), Const(values[0]))
            return Value.cast(total)[: output.width]
        return Array(Const(value, signed(output.width + 1)) for value in values)[level][: output.width]
