r"""Dot-product elements: interchangeable ways to multiply weights by activations and add up, for a beat of lanes.

Elements compute on raw activations, unsigned numbers $u$ with $x = g u + b$ (see `adders`). What is missing then
depends on the weights alone, so it is added once per row, as the start of the accumulator:

$$ \sum_j w_j x_j = g \sum_\text{beats} v + \mathrm{offset}(w) $$

with $v$ the element's output. A negative weight needs no subtraction either: with all bits turned over,
$-u = \bar u - (2^n - 1)$. So signs cost an XOR gate a bit, and XNOR-popcount (Rastegari et al., XNOR-Net, ECCV 2016,
Sec. 3.2; Umuroglu et al., FINN, FPGA 2017, Sec. 4.2) is the case of one bit.

| element | weights | bits of a weight | cycles a beat |
|---|---|---|---|
| `XnorPopcount` | -1, +1; activations of one bit | 1 | 1 |
| `AddSubtract` | -1, +1 | 1 | 1 |
| `Ternary` | -1, 0, +1 | 2 | 1 |
| `ShiftAdd` | sums of up to n signed powers of two | n times sign and exponent | 1 |
| `Multiply` | k-bit two's complement | k | 1 |
| `BitSerial` | k-bit two's complement | 1 in each cycle | k |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal

from reference_impls.fpga.adders import raw, total
from reference_impls.fpga.element import Dot, Element, refuse
from reference_impls.fpga.ports import IntArray, Kind, Port, smallest


@dataclass(frozen=True)
class AddSubtract(Element):
    """Weights -1 and +1: the activation, or all its bits turned over.

    Code: 1 for +1, 0 for -1.

    Attributes:
        width: bits of an activation.
        kind: kind of an activation.
    """

    @property
    def label(self) -> str:
        """Name for tables."""
        return "add/subtract"

    @property
    def bits(self) -> int:
        """The sign."""
        return 1

    def encode(self, weights: IntArray) -> IntArray:
        """Return the sign bits, (1, *weights.shape)."""
        refuse(weights, np.abs(weights) == 1, f"{self.label} holds -1 and +1")
        codes: IntArray = np.where(weights > 0, 1, 0)[None]
        return codes

    def offset(self, weights: IntArray) -> IntArray:
        """Return the correction of each row for raw activations and turned bits."""
        return self.correction(weights, self.ones * (weights < 0).sum(axis=-1))

    def build(self, m: Any, inputs: Sequence[Any], codes: Sequence[Any]) -> Any:
        """Turn bits over where the code is 0, and add."""
        lanes = zip(inputs, codes, strict=True)
        return total(m, [raw(self.kind, x) ^ (~code).replicate(self.width) for x, code in lanes])


@dataclass(frozen=True)
class XnorPopcount(AddSubtract):
    """Weights -1 and +1, activations of one bit: XNOR, and count ones with 3:2 compressors.

    Code: 1 for +1, 0 for -1. It is `AddSubtract` at one bit.

    Attributes:
        width: 1.
        kind: "bipolar", or "unsigned" for activations 0 and 1.
    """

    width: int = 1
    kind: Kind = "bipolar"

    def __post_init__(self) -> None:
        """Raise ValueError for activations of more than a bit."""
        if self.width != 1 or self.kind == "signed":
            raise ValueError(f"XNOR takes activations of one bit, not {self.width} ({self.kind}): use AddSubtract")

    @property
    def label(self) -> str:
        """Name for tables."""
        return "XNOR-popcount"


@dataclass(frozen=True)
class Ternary(Element):
    """Weights -1, 0 and +1: the activation, all its bits turned over, or nothing.

    Code: bit 0 is 1 for +1, bit 1 is 1 where the weight is not 0.

    Attributes:
        width: bits of an activation.
        kind: kind of an activation.
    """

    @property
    def label(self) -> str:
        """Name for tables."""
        return "ternary"

    @property
    def bits(self) -> int:
        """Sign and mask."""
        return 2

    def encode(self, weights: IntArray) -> IntArray:
        """Return sign and mask, (1, *weights.shape)."""
        refuse(weights, np.abs(weights) <= 1, "ternary holds -1, 0 and +1")
        codes: IntArray = np.where(weights > 0, 3, np.where(weights < 0, 2, 0))[None]
        return codes

    def offset(self, weights: IntArray) -> IntArray:
        """Return the correction of each row for raw activations and turned bits."""
        return self.correction(weights, self.ones * (weights < 0).sum(axis=-1))

    def build(self, m: Any, inputs: Sequence[Any], codes: Sequence[Any]) -> Any:
        """Turn bits over where the sign is 0, mask, and add."""
        size = self.width
        lanes = zip(inputs, codes, strict=True)
        return total(
            m, [(raw(self.kind, x) ^ (~code[0]).replicate(size)) & code[1].replicate(size) for x, code in lanes]
        )


@dataclass(frozen=True)
class Multiply(Element):
    r"""Two's complement weights of k = `weight_bits` bits, multiplied in logic or in DSP blocks.

    In logic a product is never formed: the sums over lanes are taken for each bit of the weights, then shifted and
    added; the sign bit's sum has its bits turned over. Activations of one bit let the weight through or not. DSP blocks
    save logic, but a design with more multipliers than the FPGA has blocks does not fit.

    Attributes:
        width: bits of an activation.
        kind: kind of an activation.
        weight_bits: bits of a weight.
        blocks: whether synthesis may take DSP blocks.
    """

    weight_bits: int
    blocks: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for weights without bits."""
        super().__post_init__()
        if self.weight_bits < 1:
            raise ValueError(f"a weight needs at least 1 bit, not {self.weight_bits}")

    @property
    def label(self) -> str:
        """Name for tables."""
        return f"multiply, {self.weight_bits}-bit weights" + (", DSP" if self.blocks else "")

    @property
    def bits(self) -> int:
        """The weight."""
        return self.weight_bits

    def encode(self, weights: IntArray) -> IntArray:
        """Return the weights' bits, (1, *weights.shape)."""
        return _twos_complement(weights, self.weight_bits)[None]

    def offset(self, weights: IntArray) -> IntArray:
        """Return the correction of each row for raw activations and turned bits."""
        if self.width == 1:
            return self.correction(weights)
        if self.blocks:
            return np.zeros(weights.shape[:-1], dtype=np.int64)
        return self.correction(weights, weights.shape[-1] * (self.ones << (self.weight_bits - 1)))

    def result(self, lanes: int) -> tuple[int, Kind]:
        """Return width and kind: every lane at its least or greatest."""
        half = 1 << (self.weight_bits - 1)
        if self.width > 1 and not self.blocks:
            return smallest(0, lanes * self.ones * (2 * half - 1))
        port = Port(self.width, self.kind, 1, 1)
        inputs = (0, 1) if self.width == 1 else (port.low, port.high)
        products = [x * w for x in inputs for w in (-half, half - 1)]
        return smallest(lanes * min(products), lanes * max(products))

    def build(self, m: Any, inputs: Sequence[Any], codes: Sequence[Any]) -> Any:
        """Multiply and add."""
        lanes = list(zip(inputs, codes, strict=True))
        if self.width == 1:
            return total(m, [(code & raw(self.kind, x).replicate(self.bits)).as_signed() for x, code in lanes])
        if self.blocks:
            products = [(x if self.kind == "signed" else x.as_unsigned()) * code.as_signed() for x, code in lanes]
            return total(m, products)
        found = []
        for bit in range(self.weight_bits):
            m.submodules[f"bit_{bit}"] = part = Module()
            terms = [raw(self.kind, x) & code[bit].replicate(self.width) for x, code in lanes]
            summed = total(part, [~term for term in terms] if bit == self.weight_bits - 1 else terms)
            found.append(Cat(Const(0, bit), summed))
        return total(m, found)


@dataclass(frozen=True)
class ShiftAdd(Element):
    r"""Weights that are sums of up to `terms` signed powers of two: shifts and adders, no multiplier.

    A weight is $\sum_{i} s_i 2^{e_i}$ with $0 \le e_i \le$ `exponent`, any $s_i$ may be 0 (ShiftCNN, Gudovskiy and
    Rigazio, 2017, Sec. 3). Code of a term, the lowest first: the exponent, 1 where there is a term, 1 for plus (and
    where there is none). Each bit of the exponent is one stage of a barrel shifter.

    Attributes:
        width: bits of an activation.
        kind: kind of an activation.
        terms: powers of two in a weight at most.
        exponent: the greatest exponent.
    """

    terms: int
    exponent: int

    def __post_init__(self) -> None:
        """Raise ValueError where there is no term or a negative exponent."""
        super().__post_init__()
        if self.terms < 1 or self.exponent < 0:
            raise ValueError(f"shift-add needs a term and an exponent of at least 0: {self.terms}, {self.exponent}")

    @property
    def label(self) -> str:
        """Name for tables."""
        return f"shift-add, {self.terms} x 2^0..2^{self.exponent}"

    @property
    def stages(self) -> int:
        """Bits of an exponent."""
        return self.exponent.bit_length()

    @property
    def bits(self) -> int:
        """Exponent, presence and sign of all terms."""
        return self.terms * (self.stages + 2)

    @cached_property
    def sums(self) -> dict[int, tuple[tuple[int, int], ...]]:
        """Every weight that fits, as (sign, exponent) of the fewest terms."""
        powers = [(sign, exponent) for exponent in range(self.exponent + 1) for sign in (1, -1)]
        found: dict[int, tuple[tuple[int, int], ...]] = {0: ()}
        newest = dict(found)
        for _ in range(self.terms):
            grown: dict[int, tuple[tuple[int, int], ...]] = {}
            for value, terms in newest.items():
                for sign, exponent in powers:
                    grown.setdefault(value + sign * (1 << exponent), (*terms, (sign, exponent)))
            newest = {value: terms for value, terms in grown.items() if value not in found}
            found.update(newest)
        return found

    def encode(self, weights: IntArray) -> IntArray:
        """Return the terms' codes, (1, *weights.shape)."""
        values, places = np.unique(weights, return_inverse=True)
        refuse(values, np.isin(values, list(self.sums)), f"{self.label} holds sums of signed powers of two")
        codes = []
        for value in values:
            terms = [exponent + ((1 + 2 * (sign > 0)) << self.stages) for sign, exponent in self.sums[int(value)]]
            terms += [2 << self.stages] * (self.terms - len(terms))
            codes.append(sum(term << (index * (self.stages + 2)) for index, term in enumerate(terms)))
        return np.array(codes, dtype=np.int64)[places].reshape(1, *weights.shape)

    def offset(self, weights: IntArray) -> IntArray:
        """Return the correction of each row for raw activations and turned bits."""
        values, places = np.unique(weights, return_inverse=True)
        minus = np.array([sum(sign < 0 for sign, _ in self.sums[int(value)]) for value in values], dtype=np.int64)
        return self.correction(weights, self.ones * minus[places].reshape(weights.shape).sum(axis=-1))

    @property
    def ones(self) -> int:
        """A shifted activation with all bits set."""
        return (1 << (self.width + self.exponent)) - 1

    def result(self, lanes: int) -> tuple[int, Kind]:
        """Return width and kind: every term of every lane with all bits set."""
        return smallest(0, lanes * self.terms * self.ones)

    def build(self, m: Any, inputs: Sequence[Any], codes: Sequence[Any]) -> Any:
        """Mask, shift, turn bits over where the sign is minus, and add."""
        size, stages = self.width + self.exponent, self.stages
        found = []
        for lane, (x, code) in enumerate(zip(inputs, codes, strict=True)):
            for index in range(self.terms):
                part = code[index * (stages + 2) : (index + 1) * (stages + 2)]
                value = raw(self.kind, x) & part[stages].replicate(self.width)
                for stage in range(stages):
                    shifted = Signal(min(len(value) + (1 << stage), size), name=f"shift_{lane}_{index}_{stage}")
                    m.d.comb += shifted.eq(Mux(part[stage], Cat(Const(0, 1 << stage), value), value))
                    value = shifted
                term = Signal(size, name=f"term_{lane}_{index}")
                m.d.comb += term.eq(value ^ (~part[stages + 1]).replicate(size))
                found.append(term)
        return total(m, found)


@dataclass(frozen=True)
class BitSerial(Element):
    """Two's complement weights, one bit a cycle: AND, add, double (UNPU, Lee et al., JSSC 2019).

    Time, not hardware, grows with the weights' bits: a row takes `weight_bits` passes.

    Attributes:
        width: bits of an activation.
        kind: kind of an activation.
        weight_bits: bits of a weight, at least 2; for -1 and +1 take `AddSubtract`.
    """

    weight_bits: int

    def __post_init__(self) -> None:
        """Raise ValueError for weights of less than two bits."""
        super().__post_init__()
        if self.weight_bits < 2:
            raise ValueError(f"bit-serial weights have 2 bits or more, not {self.weight_bits}: use AddSubtract for one")

    @property
    def label(self) -> str:
        """Name for tables."""
        return f"bit-serial, {self.weight_bits}-bit weights"

    @property
    def bits(self) -> int:
        """One bit at a time."""
        return 1

    @property
    def cycles(self) -> int:
        """A pass for each bit."""
        return self.weight_bits

    def encode(self, weights: IntArray) -> IntArray:
        """Return the bit planes, (weight_bits, *weights.shape), the sign first."""
        codes = _twos_complement(weights, self.weight_bits)
        return np.stack([(codes >> shift) & 1 for shift in reversed(range(self.weight_bits))])

    def offset(self, weights: IntArray) -> IntArray:
        """Return the correction of each row for raw activations."""
        return self.correction(weights)

    def build(self, m: Any, inputs: Sequence[Any], codes: Sequence[Any]) -> Any:
        """Let the activations through whose weight has this bit, and add."""
        lanes = zip(inputs, codes, strict=True)
        return total(m, [raw(self.kind, x) & code.replicate(self.width) for x, code in lanes])


def choose(weights: IntArray, width: int, kind: Kind) -> Dot:
    """Return the cheapest element that holds the weights: one cycle a beat, and among those the least logic.

    Signs first, then ternary; powers of two with activations of several bits get shifts; the rest is multiplied.

    Args:
        weights: integers of any shape.
        width: bits of an activation.
        kind: kind of an activation.
    """
    sizes = np.abs(weights)
    low, high = int(weights.min()), int(weights.max())
    if (sizes == 1).all():
        return XnorPopcount(width, kind) if width == 1 and kind != "signed" else AddSubtract(width, kind)
    if high <= 1 and low >= -1:
        return Ternary(width, kind)
    if width > 1 and not (sizes & (sizes - 1)).any():
        return ShiftAdd(width, kind, 1, int(sizes.max()).bit_length() - 1)
    return Multiply(width, kind, _signed_bits(low, high))


def _signed_bits(low: int, high: int) -> int:
    width, kind = smallest(low, high)
    return width + (kind == "unsigned")


def _twos_complement(weights: IntArray, bits: int) -> IntArray:
    half = 1 << (bits - 1)
    refuse(weights, (weights >= -half) & (weights < half), f"{bits} bits hold {-half} to {half - 1}")
    codes: IntArray = weights & ((1 << bits) - 1)
    return codes
