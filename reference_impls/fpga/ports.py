r"""The contract between units: what travels on a stream, and what every unit promises.

A *frame* (an image, a feature map, a vector) is a row of integers. It crosses a stream in *beats* of `lanes`
elements each, the first element in the lowest bits. A beat moves on a clock edge at which `valid` and `ready` are both
high; `valid` never waits for `ready`, and once raised it and the payload hold until the beat has moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from amaranth.hdl import Value, unsigned
from amaranth.lib import stream
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Kind = Literal["signed", "unsigned", "bipolar"]


@dataclass(frozen=True)
class Port:
    """One side of a unit: `beats` beats of `lanes` elements of `width` bits a frame.

    Attributes:
        width: bits of an element.
        kind: "signed" (two's complement), "unsigned", or "bipolar" (one bit: 1 stands for +1 and 0 for -1).
        lanes: elements of a beat.
        beats: beats of a frame.
    """

    width: int
    kind: Kind
    lanes: int
    beats: int

    def __post_init__(self) -> None:
        """Raise ValueError for a port that cannot be."""
        if min(self.width, self.lanes, self.beats) < 1:
            raise ValueError(f"a port needs width, lanes and beats of at least 1: {self}")
        if self.kind == "bipolar" and self.width != 1:
            raise ValueError(f"a bipolar element has one bit, not {self.width}")

    @property
    def elements(self) -> int:
        """Elements of a frame."""
        return self.lanes * self.beats

    @property
    def bits(self) -> int:
        """Bits of a beat."""
        return self.lanes * self.width

    @property
    def low(self) -> int:
        """Least value of an element."""
        return {"signed": -(1 << (self.width - 1)), "unsigned": 0, "bipolar": -1}[self.kind]

    @property
    def high(self) -> int:
        """Greatest value of an element."""
        return {"signed": (1 << (self.width - 1)) - 1, "unsigned": (1 << self.width) - 1, "bipolar": 1}[self.kind]

    def signature(self) -> stream.Signature:
        """Return the Amaranth stream that carries this port: the beat as one unsigned number."""
        return stream.Signature(unsigned(self.bits))

    def lane(self, payload: Any, index: int) -> Any:
        """Return element `index` of a beat as an Amaranth value, signed where the port is; the bit where bipolar."""
        element = Value.cast(payload)[index * self.width : (index + 1) * self.width]
        return element.as_signed() if self.kind == "signed" else element

    def encode(self, frames: IntArray) -> Bytes:
        """Pack frames into beats.

        Args:
            frames: (frames, elements), values in low..high (bipolar: -1 or +1).

        Returns:
            (frames * beats, bytes of a beat), little endian.

        Raises:
            ValueError: if the shape is another or a value does not fit.
        """
        if frames.ndim != 2 or frames.shape[1] != self.elements:
            raise ValueError(f"frames must be (frames, {self.elements}), not {frames.shape}")
        fits = (
            (frames == -1) | (frames == 1) if self.kind == "bipolar" else (frames >= self.low) & (frames <= self.high)
        )
        if not bool(fits.all()):
            raise ValueError(f"{frames[~fits][0]} does not fit {self.width} bits, {self.kind}")
        raw = (frames > 0).astype(np.int64) if self.kind == "bipolar" else frames
        bits = (raw[..., None] >> np.arange(self.width)) & 1  # (frames, elements, width)
        return np.packbits(bits.astype(np.uint8).reshape(-1, self.bits), axis=1, bitorder="little")

    def decode(self, beats: Bytes) -> IntArray:
        """Unpack beats, (frames * beats, bytes of a beat), into frames, (frames, elements)."""
        bits = np.unpackbits(beats, axis=1, count=self.bits, bitorder="little")
        raw = bits.reshape(-1, self.elements, self.width).astype(np.int64) @ (1 << np.arange(self.width))
        if self.kind == "bipolar":
            return 2 * raw - 1
        return raw - ((raw >> (self.width - 1)) << self.width) if self.kind == "signed" else raw


def smallest(low: int, high: int) -> tuple[int, Kind]:
    """Return width and kind of the smallest element that holds every value in low..high.

    >>> smallest(0, 3), smallest(-4, 3), smallest(-5, 3)
    ((2, 'unsigned'), (3, 'signed'), (4, 'signed'))
    """
    if low > high:
        raise ValueError(f"low {low} lies above high {high}")
    if low >= 0:
        return max(1, high.bit_length()), "unsigned"
    return max((-low - 1).bit_length(), high.bit_length() if high > 0 else 0) + 1, "signed"


class Stage(Protocol):
    """A unit of a pipeline: one validated parameter object that is the integer model and makes the hardware."""

    @property
    def label(self) -> str:
        """A few words for tables and diagrams, folding included."""

    @property
    def input(self) -> Port:
        """What comes in."""

    @property
    def output(self) -> Port:
        """What goes out."""

    @property
    def interval(self) -> int:
        """Initiation interval: cycles from one frame to the next in steady state, with no stall on either side."""

    @property
    def latency(self) -> int:
        """Cycles from the edge that takes a frame's first beat into the idle unit to the first cycle of valid output.

        With the input never waiting and the output always ready.
        """

    @property
    def depth(self) -> int:
        """Beats of FIFO that the unit wants before it to keep its interval in a pipeline; 0 for none."""

    def model(self, frames: IntArray) -> IntArray:
        """Compute on integers: (frames, input elements) to (frames, output elements)."""

    def build(self) -> Any:
        """Return a new Amaranth component with the stream `i` in and the stream `o` out, one clock domain `sync`."""
