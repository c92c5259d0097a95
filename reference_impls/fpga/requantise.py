r"""Integer requantisation: an accumulator becomes an 8-bit (or narrower) activation without a real number.

The real scale of a layer is written as a whole multiplier over a power of two, $s \approx M / 2^n$; what remains is a
product, a rounding shift, the zero point and a clamp (Jacob et al., Quantization and training of neural networks for
efficient integer-arithmetic-only inference, CVPR 2018, Sec. 2.2). The clamp to `low` is a ReLU where `low` is the zero
point. The library gemmlowp rounds twice, halves away from zero; here one rounding, halves up, does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reference_impls.fpga.delay import delay
from reference_impls.fpga.ports import IntArray, Kind, Port, smallest
from reference_impls.fpga.rom import Rom, pack

PRODUCT_BITS = 62
"""Most bits of a product: more would not fit the integer model's 64 bits with rounding and zero point."""


def fixed_point(scales: Sequence[float], bits: int = 16) -> tuple[IntArray, int]:
    r"""Return multipliers of at most `bits` bits and one shift $n$, so that $M_c / 2^n$ is nearest to each scale.

    The shift is the greatest that keeps the multiplier of the greatest scale within $2^{b} - 1$ for `bits` = $b$.

    Args:
        scales: one a channel, finite, at least one of them not 0; negative ones turn a channel round.
        bits: bits of a multiplier's magnitude.

    Raises:
        ValueError: if there is no such pair of a multiplier and a shift of at least 0.

    >>> fixed_point([0.75, 0.1], bits=4)
    (array([12,  2]), 4)
    """
    values = np.array(scales, dtype=np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    if bits < 1 or values.ndim != 1 or not np.isfinite(values).all() or largest == 0:
        raise ValueError(
            f"scales must be finite, one of them not 0, and bits at least 1: {values.tolist()}, {bits} bits"
        )
    shift = bits - int(np.frexp(largest)[1])
    if np.rint(largest * 2.0**shift) >= 2.0**bits:
        shift -= 1
    if shift < 0:
        raise ValueError(f"a scale of {largest} needs more than {bits} bits: enlarge bits")
    return np.rint(values * 2.0**shift).astype(np.int64), shift


@dataclass(frozen=True, eq=False)
class Requantise:
    r"""Scale, shift and clamp each accumulator of channel $c$.

    $$ y = \mathrm{clamp}\bigl(\lfloor (M_c\,a + 2^{n-1}) / 2^n \rfloor + z,\; low,\; high\bigr) $$

    Halves are rounded up, toward plus infinity; with $n = 0$ nothing is rounded.

    Contract:
        Input: `vectors` vectors of `channels` accumulators, channels fastest, `lanes` a beat.
        Output: as many elements in the same order, the smallest element that holds `low` and `high`.
        Interval: one cycle a beat, `vectors * channels / lanes`.
        Latency: 2 cycles (product; shift and clamp), and that of the multipliers' memory (see `rom`): none where the
            lane's channels share one multiplier, 1 in LUTs, 2 in block memory.

    Attributes:
        multipliers: (channels,), whole numbers; negative ones turn a channel round.
        shift: n, at least 0.
        zero_point: z.
        low: least output.
        high: greatest output.
        width: bits of an accumulator.
        kind: "signed" or "unsigned" accumulator.
        lanes: elements of a beat; divides the channels.
        vectors: vectors of a frame.
    """

    multipliers: IntArray
    shift: int
    zero_point: int
    low: int
    high: int
    width: int
    kind: Kind = "signed"
    lanes: int = 1
    vectors: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for parameters that do not fit together; keep a private, read-only array."""
        multipliers = np.array(self.multipliers)
        if multipliers.ndim != 1 or multipliers.size == 0 or multipliers.dtype.kind not in "iu":
            raise ValueError(
                f"multipliers must be a (channels,) integer array, not {multipliers.dtype} {multipliers.shape}"
            )
        multipliers = multipliers.astype(np.int64)
        multipliers.flags.writeable = False
        object.__setattr__(self, "multipliers", multipliers)
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must lie below high {self.high}")
        if self.kind == "bipolar":
            raise ValueError("an accumulator is signed or unsigned; a bipolar input has nothing to scale")
        if self.lanes < 1 or self.vectors < 1 or len(multipliers) % self.lanes:
            raise ValueError(
                f"lanes {self.lanes} must divide the {len(multipliers)} channels, vectors {self.vectors} be >= 1"
            )
        if not 0 <= self.shift < PRODUCT_BITS:
            raise ValueError(f"shift must lie in 0..{PRODUCT_BITS - 1}, not at {self.shift}")
        if self.product[0] > PRODUCT_BITS or abs(self.zero_point) >> PRODUCT_BITS:
            raise ValueError(
                f"product ({self.product[0]} bits) and zero point ({self.zero_point}) must fit {PRODUCT_BITS} bits: "
                "take shorter multipliers"
            )

    @property
    def product(self) -> tuple[int, Kind]:
        """Smallest signed element that holds every product with the half that rounds it."""
        port = self.input
        ends = [int(m) * end for m in (self.multipliers.min(), self.multipliers.max()) for end in (port.low, port.high)]
        half = 1 << self.shift >> 1
        return smallest(min(*ends, -1), max(ends) + half)

    @property
    def channels(self) -> int:
        """Multipliers."""
        return int(self.multipliers.shape[0])

    @property
    def groups(self) -> int:
        """Beats of a vector."""
        return self.channels // self.lanes

    @property
    def label(self) -> str:
        """What it is, with its folding."""
        return f"requantise {self.channels} to {self.output.width} bits (PE {self.lanes})"

    @property
    def input(self) -> Port:
        """Accumulators."""
        return Port(self.width, self.kind, self.lanes, self.groups * self.vectors)

    @property
    def output(self) -> Port:
        """Activations."""
        width, kind = smallest(self.low, self.high)
        return Port(width, kind, self.lanes, self.groups * self.vectors)

    @property
    def interval(self) -> int:
        """One cycle a beat."""
        return self.input.beats

    @property
    def latency(self) -> int:
        """Memory, product, shift and clamp."""
        return 2 + max(rom.latency for rom in self.roms()[0])

    @property
    def depth(self) -> int:
        """No FIFO: it never makes its producer wait."""
        return 0

    def roms(self) -> tuple[tuple[Rom, ...], Kind]:
        """Return the multipliers' memories, one a lane, addressed by the group, and the kind of their words."""
        width, kind = smallest(int(self.multipliers.min()), int(self.multipliers.max()))
        table = self.multipliers.reshape(self.groups, self.lanes)
        return tuple(Rom(pack(table[:, lane, None], width), width) for lane in range(self.lanes)), kind

    def model(self, frames: IntArray) -> IntArray:
        """Compute on integers: (frames, input elements) to (frames, output elements)."""
        products = frames.reshape(-1, self.channels) * self.multipliers
        scaled = ((products + (1 << self.shift >> 1)) >> self.shift) + self.zero_point
        found: IntArray = scaled.clip(self.low, self.high).reshape(frames.shape)
        return found

    def build(self) -> Any:
        """Return the component: stream `i` in, stream `o` out."""
        return _Requantise(self)


class _Requantise(wiring.Component):
    def __init__(self, unit: Requantise) -> None:
        self.unit = unit
        super().__init__({"i": In(unit.input.signature()), "o": Out(unit.output.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002  Amaranth's signature
        m, unit = Module(), self.unit
        move = Signal()  # the whole unit moves, or nothing does
        m.d.comb += [move.eq(~self.o.valid | self.o.ready), self.i.ready.eq(move)]
        group = Signal(range(max(2, unit.groups)))
        with m.If(move & self.i.valid):
            m.d.sync += group.eq(Mux(group == unit.groups - 1, 0, group + 1))

        roms, kind = unit.roms()
        wait = max(rom.latency for rom in roms)
        valid = delay(m, move, self.i.valid, wait + 1)
        lanes = [delay(m, move, unit.input.lane(self.i.payload, index), wait) for index in range(unit.lanes)]
        factors = []
        for lane, rom in enumerate(roms):
            m.submodules[f"lane{lane}"] = reader = rom.build()
            m.d.comb += [reader.address.eq(group), reader.enable.eq(move)]
            factors.append(reader.data.as_signed() if kind == "signed" else reader.data)
        products = [delay(m, move, a * factor) for a, factor in zip(lanes, factors, strict=True)]

        outputs = []
        for lane, product in enumerate(products):
            rounded = Signal(signed(unit.product[0]), name=f"rounded{lane}")
            m.d.comb += rounded.eq(product + (1 << unit.shift >> 1))
            y = (rounded >> unit.shift) + unit.zero_point
            clamped = Mux(y < unit.low, unit.low, Mux(y > unit.high, unit.high, y))
            outputs.append(clamped[: unit.output.width])
        with m.If(move):
            m.d.sync += [self.o.valid.eq(valid), self.o.payload.eq(Cat(outputs))]
        return m
