from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from reference_impls.fpga.rom import BLOCK_BITS, BLOCK_DEPTH, Rom, hex_lines, pack


def read(rom: Rom, addresses: list[int], *, enabled: bool = True) -> list[int]:
    """Return the data in the cycles after each address was given."""
    dut = rom.build()
    seen: list[int] = []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.enable, enabled)
        for address in addresses:
            ctx.set(dut.address, address)
            await ctx.tick()
            seen.append(ctx.get(dut.data))

    top = Module()
    top.domains.sync = ClockDomain()
    top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize(("style", "latency"), [("lut", 1), ("block", 2)])
def test_words_come_after_the_latency_and_stand_still_when_disabled(style: Any, latency: int) -> None:
    words = tuple(int(word) for word in np.random.default_rng(0).integers(0, 1 << 9, 11))
    rom = Rom(words, 9, style)
    assert (rom.kind, rom.latency, rom.depth) == (style, latency, 11)
    addresses = [3, 0, 10, 7, 7, 1]
    assert read(rom, addresses)[latency - 1 :] == [words[a] for a in addresses][: len(addresses) - latency + 1]
    assert len(set(read(rom, addresses, enabled=False))) == 1


def test_equal_words_are_wires() -> None:
    for rom in (Rom((5,), 3), Rom((5, 5, 5), 3), Rom((5, 5), 3, "block")):
        assert (rom.kind, rom.latency) == ("constant", 0)
        assert read(rom, [0, 0]) == [5, 5]


def test_auto_takes_block_memory_only_for_what_fills_it() -> None:
    words = tuple(range(BLOCK_DEPTH))
    wide = BLOCK_BITS // BLOCK_DEPTH + 1
    assert Rom(words, wide).kind == "block"
    assert Rom(words[:-1], wide + 2).kind == "lut"  # too few words, though bits enough
    assert Rom(words, wide - 1).kind == "lut"  # too few bits
    assert Rom(words, wide, "lut").kind == "lut"


def test_packing_puts_the_first_element_lowest() -> None:
    assert pack(np.array([[1, 0, 3], [2, 1, 0]]), 2) == (0b110001, 0b000110)
    assert pack(np.array([[-1, -4]]), 3) == (0b100111,)
    assert pack(np.ones((1, 100), dtype=np.int64), 1) == ((1 << 100) - 1,)  # wider than a machine word


def test_hex_lines_are_as_wide_as_the_word() -> None:
    assert hex_lines((0, 1, 511), 9) == "000\n001\n1ff\n"


@pytest.mark.parametrize(
    ("words", "width", "style", "message"),
    [
        ((), 3, "auto", "needs a word"),
        ((8,), 3, "auto", "fit 3 bits"),
        ((-1,), 3, "auto", "unsigned"),
        ((0,), 0, "auto", "at least 1"),
        ((1, 2), 3, "constant", "take lut or block"),
    ],
)
def test_what_cannot_be_is_refused(words: tuple[int, ...], width: int, style: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rom(words, width, style)
