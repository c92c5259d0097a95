r"""Sliding window (im2col) for convolutions: a feature map comes in, the windows go out one after another.

The matrix-vector unit behind it then computes a convolution as one matrix-vector product a window (Umuroglu et al.,
FINN, FPGA 2017, Sec. 4.3, sliding window unit). The map is kept in a circular line buffer of a few rows, never as a
whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from numpy.lib.stride_tricks import sliding_window_view

from reference_impls.fpga.ports import IntArray, Kind, Port


@dataclass(frozen=True)
class SlidingWindow:
    r"""Send every `kernel` x `kernel` window of a `height` x `width` x `channels` map, row by row.

    $$ H' = \lfloor (H + 2P - K) / S \rfloor + 1, \qquad W' = \lfloor (W + 2P - K) / S \rfloor + 1 $$

    Contract:
        Input: the map, rows first, channels fastest, `lanes` elements a beat: $I = HWC/\text{lanes}$ beats.
        Output: $H'W'$ windows, each in the order (ky, kx, channel), `lanes` elements a beat:
            $O = H'W'K^2C/\text{lanes}$ beats.
        Interval: $\max(I, O)$ cycles: it reads and writes the line buffer in the same cycle.
        Latency: 3 cycles: line buffer, its output, the output register. The window goes on as its elements come in.

    Attributes:
        height: rows of the map.
        width: columns of the map.
        channels: elements of a pixel.
        kernel: rows and columns of a window.
        element_width: bits of an element.
        kind: "signed", "unsigned" or "bipolar" elements.
        stride: pixels from one window to the next, both ways.
        padding: pixels added on each of the four sides.
        pad_value: the added elements; a bipolar map can be padded only with -1 or 1, for there is no 0.
        lanes: elements of a beat; divides the channels.
    """

    height: int
    width: int
    channels: int
    kernel: int
    element_width: int
    kind: Kind = "signed"
    stride: int = 1
    padding: int = 0
    pad_value: int = 0
    lanes: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for parameters that do not fit together."""
        if min(self.height, self.width, self.channels, self.kernel, self.stride) < 1 or self.padding < 0:
            raise ValueError(f"sizes and stride must be at least 1, padding at least 0: {self}")
        if min(self.height, self.width) + 2 * self.padding < self.kernel:
            raise ValueError(
                f"a window of {self.kernel} does not fit a map of {self.height} x {self.width} "
                f"with padding {self.padding}: enlarge the padding or take a smaller kernel"
            )
        if self.padding >= self.kernel:
            raise ValueError(
                f"padding {self.padding} must be less than the kernel {self.kernel}: windows would be empty"
            )
        if self.lanes < 1 or self.channels % self.lanes:
            raise ValueError(f"lanes {self.lanes} must divide the {self.channels} channels")
        port = self.input  # refuses element widths that cannot be
        inside = self.pad_value in {-1, 1} if self.kind == "bipolar" else port.low <= self.pad_value <= port.high
        if self.padding and not inside:
            raise ValueError(
                f"pad_value {self.pad_value} is no {self.kind} element of {self.element_width} bits: "
                f"take {'-1 or 1' if self.kind == 'bipolar' else f'one in {port.low}..{port.high}'}"
            )

    @property
    def out_height(self) -> int:
        """Rows of windows."""
        return (self.height + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def out_width(self) -> int:
        """Windows of a row."""
        return (self.width + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def groups(self) -> int:
        """Beats of a pixel."""
        return self.channels // self.lanes

    @property
    def window_beats(self) -> int:
        """Beats of a window."""
        return self.kernel * self.kernel * self.groups

    @property
    def label(self) -> str:
        """What it is, with its folding."""
        size = f"{self.height} x {self.width} x {self.channels}"
        return f"window {self.kernel} x {self.kernel} of {size} ({self.lanes} lanes)"

    @property
    def input(self) -> Port:
        """The map."""
        return Port(self.element_width, self.kind, self.lanes, self.height * self.width * self.groups)

    @property
    def output(self) -> Port:
        """The windows."""
        beats = self.out_height * self.out_width * self.window_beats
        return Port(self.element_width, self.kind, self.lanes, beats)

    @property
    def interval(self) -> int:
        """The beats of the busier side."""
        return max(self.input.beats, self.output.beats)

    @property
    def latency(self) -> int:
        """Line buffer, its output, the output register."""
        return 3

    @property
    def depth(self) -> int:
        """No FIFO: the line buffer has room for a producer that sends a row at a time."""
        return 0

    @cached_property
    def buffer(self) -> int:
        r"""Beats of the line buffer, a power of two, so that addresses wrap by themselves.

        Let the input come at an even pace, $\rho = I / \max(I, O)$ beats a cycle, and windows be read back to back as
        soon as their last beat is there. The buffer holds what has come in by the end of a window since that window's
        first beat; the greatest such number, and one row more for a producer that sends in bursts, is what is needed.
        Across the frame border, where windows jump by a kernel, it is about two kernels' rows.
        """
        count, row = self.out_height * self.out_width, self.width * self.groups
        first, last = self._reach()
        frames = np.arange(3)[:, None] * self.input.beats
        first, last = (frames + first).ravel(), (frames + last).ravel()
        pace = self.input.beats / self.interval
        order = np.arange(3 * count) * self.window_beats
        ends = order + self.window_beats + np.maximum.accumulate((last + 1) / pace + self.latency - order)
        needed = int(np.ceil((ends * pace - first).max())) + row
        return 1 << (needed - 1).bit_length()

    def _reach(self) -> tuple[IntArray, IntArray]:
        """Return for each window the beat of its upper left corner, before the map where padded, and its last beat."""
        top = np.arange(self.out_height) * self.stride - self.padding
        left = np.arange(self.out_width) * self.stride - self.padding
        bottom = np.minimum(top + self.kernel, self.height) - 1
        right = np.minimum(left + self.kernel, self.width) - 1
        first = (top[:, None] * self.width + left) * self.groups
        last = (bottom[:, None] * self.width + right) * self.groups + self.groups - 1
        return first.ravel(), last.ravel()

    def model(self, frames: IntArray) -> IntArray:
        """Compute on integers: (frames, input elements) to (frames, output elements)."""
        maps = frames.reshape(-1, self.height, self.width, self.channels)
        pad = (self.padding, self.padding)
        maps = np.pad(maps, ((0, 0), pad, pad, (0, 0)), constant_values=self.pad_value)
        views = sliding_window_view(maps, (self.kernel, self.kernel), axis=(1, 2))[:, :: self.stride, :: self.stride]
        return views.transpose(0, 1, 2, 4, 5, 3).reshape(len(frames), -1)  # (frame, y, x, ky, kx, channel)

    def build(self) -> Any:
        """Return the component: stream `i` in, stream `o` out."""
        return _SlidingWindow(self)


class _SlidingWindow(wiring.Component):
    def __init__(self, unit: SlidingWindow) -> None:
        self.unit = unit
        super().__init__({"i": In(unit.input.signature()), "o": Out(unit.output.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002  Amaranth's signature
        m, unit = Module(), self.unit
        depth, row, groups = unit.buffer, unit.width * unit.groups, unit.groups
        lead = unit.padding * (row + groups)  # beats from the first window's corner to the map's first beat
        # Beats are numbered through all frames. `held` counts those from the window's corner to the newest, both ends
        # of which may lie in padding; it is negative while the corner's row has not come in yet.
        bound = depth + (unit.height + unit.kernel) * row
        held = Signal(signed(bound.bit_length() + 1), init=lead)
        corner, write = Signal(range(depth), init=-lead % depth), Signal(range(depth))
        span = (unit.kernel - 1) * row + unit.kernel * groups  # beats from a window's corner to its end
        offset = Signal(range(max(2, span)))  # of the element within the window

        m.submodules.lines = lines = Memory(shape=unsigned(unit.input.bits), depth=depth, init=[])
        writer, reader = lines.write_port(), lines.read_port()
        taken, move, ready, step = Signal(), Signal(), Signal(), Signal()
        padded, begins, ends, ends_row, jump = self._walk(m, step)
        m.d.comb += [
            self.i.ready.eq(held < depth),
            taken.eq(self.i.valid & self.i.ready),
            writer.addr.eq(write),
            writer.data.eq(self.i.payload),
            writer.en.eq(taken),
            move.eq(~self.o.valid | self.o.ready),
            ready.eq(Mux(begins, held > lead, padded | (held > offset))),
            step.eq(ready & move),
            reader.addr.eq((corner + offset)[: len(corner)]),
            reader.en.eq(move),
        ]
        with m.If(taken):
            m.d.sync += write.eq(write + 1)
        m.d.sync += held.eq(Mux(step & ends, held + taken - jump, held + taken))  # chosen last: `step` comes late
        with m.If(step):
            with m.If(ends):
                m.d.sync += [offset.eq(0), corner.eq(corner + jump)]
            with m.Else():
                m.d.sync += offset.eq(offset + Mux(ends_row, row - unit.kernel * groups + 1, 1))

        valid, blank = Signal(), Signal()
        pad = int(unit.pad_value > 0) if unit.kind == "bipolar" else unit.pad_value % (1 << unit.element_width)
        blanks = Const(sum(pad << (lane * unit.element_width) for lane in range(unit.lanes)), unit.input.bits)
        with m.If(move):
            m.d.sync += [valid.eq(ready), blank.eq(padded), self.o.valid.eq(valid)]
            m.d.sync += self.o.payload.eq(Mux(blank, blanks, reader.data))
        return m

    def _walk(self, m: Any, step: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Count channel groups, kx, ky, x and y of the windows.

        Returns:
            Whether the element lies in padding; is a frame's first; a window's last; the last of a window's row; and
            how many beats the corner moves after the window.
        """
        unit = self.unit
        row, groups = unit.width * unit.groups, unit.groups
        limits = (groups, unit.kernel, unit.kernel, unit.out_width, unit.out_height)
        names = ("g", "kx", "ky", "x", "y")
        counters = [Signal(range(max(2, limit)), name=name) for name, limit in zip(names, limits, strict=True)]
        carry, last = step, []
        for counter, limit in zip(counters, limits, strict=True):
            last.append(counter == limit - 1)
            with m.If(carry):
                m.d.sync += counter.eq(Mux(last[-1], 0, counter + 1))
            carry = carry & last[-1]
        _, kx, ky, x, y = counters
        padded = Const(0)
        for at, place, size in ((ky, y, unit.height), (kx, x, unit.width)) if unit.padding else ():
            pixel = at + place * unit.stride - unit.padding
            padded = padded | (pixel < 0) | (pixel >= size)
        right = unit.stride * groups
        down = unit.stride * row - (unit.out_width - 1) * right
        around = unit.height * row - (unit.out_height - 1) * unit.stride * row - (unit.out_width - 1) * right
        begins = Cat(counters) == 0
        ends_row = last[0] & last[1]
        ends = ends_row & last[2]
        return padded, begins, ends, ends_row, Mux(last[3], Mux(last[4], around, down), right)
