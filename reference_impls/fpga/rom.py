r"""Read-only memory for weights and thresholds: constants, LUTs or block memory.

| style | what it becomes | latency |
|---|---|---|
| constant | wires: there is one word, or all words are equal | 0 |
| lut | logic and a register | 1 |
| block | block memory and a register after it (a block memory alone is slow to answer) | 2 |

"auto" takes block memory from `BLOCK_BITS` bits and `BLOCK_DEPTH` words upwards: below, a block would stand nearly
empty, and up to 16 words need but one LUT4 a bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from amaranth.hdl import Const, Elaboratable, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from reference_impls.fpga.ports import IntArray

Style = Literal["auto", "constant", "lut", "block"]

BLOCK_BITS = 2048
"""Least bits for which "auto" takes block memory."""

BLOCK_DEPTH = 33
"""Least words for which "auto" takes block memory."""


def pack(elements: IntArray, bits: int) -> tuple[int, ...]:
    """Pack rows of elements into words, the first element in the lowest bits, negative numbers in two's complement.

    Args:
        elements: (words, elements of a word).
        bits: bits of an element.

    >>> import numpy as np
    >>> pack(np.array([[1, 0, -1], [2, 3, 0]]), 2)
    (49, 14)
    """
    mask = (1 << bits) - 1
    return tuple(sum((int(e) & mask) << (bits * place) for place, e in enumerate(row)) for row in elements)


def hex_lines(words: Sequence[int], width: int) -> str:
    r"""Return words as Verilog's `$readmemh` reads them: a line of hexadecimal digits a word.

    >>> hex_lines((49, 14), 6)
    '31\n0e\n'
    """
    return "".join(f"{word:0{(width + 3) // 4}x}\n" for word in words)


@dataclass(frozen=True)
class Rom:
    """Words to read in turn.

    Attributes:
        words: unsigned integers.
        width: bits of a word.
        style: what it becomes; "auto" for what suits its size.
    """

    words: tuple[int, ...]
    width: int
    style: Style = "auto"

    def __post_init__(self) -> None:
        """Raise ValueError where there is no word, one does not fit, or words of a constant differ."""
        if not self.words:
            raise ValueError("a ROM needs a word")
        if self.width < 1 or min(self.words) < 0 or max(self.words) >> self.width:
            raise ValueError(f"words must be unsigned and fit {self.width} bits, at least 1")
        if self.style == "constant" and len(set(self.words)) > 1:
            raise ValueError(f"{len(self.words)} words that differ are no constant: take lut or block")

    @property
    def depth(self) -> int:
        """Words."""
        return len(self.words)

    @property
    def kind(self) -> Style:
        """What it becomes: constant, lut or block."""
        if len(set(self.words)) == 1:
            return "constant"
        if self.style != "auto":
            return self.style
        return "block" if self.depth >= BLOCK_DEPTH and self.depth * self.width >= BLOCK_BITS else "lut"

    @property
    def latency(self) -> int:
        """Enabled cycles from an address to its word; 0 for a constant."""
        return {"constant": 0, "lut": 1, "block": 2}[self.kind]

    def build(self) -> Any:
        """Return a new component: `address` and `enable` in, `data` out; nothing moves while `enable` is low."""
        return _Rom(self)


class _Rom(wiring.Component):
    def __init__(self, rom: Rom) -> None:
        self._rom = rom
        super().__init__(
            {
                "address": In(unsigned(ceil_log2(rom.depth))),
                "enable": In(1),
                "data": Out(unsigned(rom.width)),
            }
        )

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002
        m = Module()
        rom = self._rom
        if rom.kind == "constant":
            m.d.comb += self.data.eq(Const(rom.words[0], rom.width))
            return m
        style = "block" if rom.kind == "block" else "logic"
        memory = Memory(
            shape=unsigned(rom.width), depth=rom.depth, init=rom.words, attrs={"rom_style": style, "ram_style": style}
        )
        m.submodules.memory = memory
        port = memory.read_port()
        m.d.comb += [port.addr.eq(self.address), port.en.eq(self.enable)]
        if rom.kind == "lut":
            m.d.comb += self.data.eq(port.data)
            return m
        word = Signal(rom.width)
        m.d.comb += self.data.eq(word)
        with m.If(self.enable):
            m.d.sync += word.eq(port.data)
        return m
