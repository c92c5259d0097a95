from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value, signed, unsigned
from amaranth.sim import Simulator

from reference_impls.fpga.adders import COUNTED_BITS, base, gain, popcount, raw, total
from reference_impls.fpga.ports import Kind, Port


def settle(m: Any, signals: list[Any], output: Any, rows: list[list[int]]) -> list[int]:
    """Return the output of combinational logic for each row of inputs."""
    seen: list[int] = []

    async def bench(ctx: Any) -> None:
        for row in rows:
            for signal, value in zip(signals, row, strict=True):
                ctx.set(signal, value)
            seen.append(ctx.get(output))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 31, 64, 100])
def test_popcount_counts_ones_in_as_many_bits_as_it_needs(size: int) -> None:
    m, x, y = Module(), Signal(size), Signal(16)
    counted = popcount(m, list(x))
    assert len(Value.cast(counted)) == size.bit_length()
    m.d.comb += y.eq(counted)
    rng = np.random.default_rng(size)
    words = [0, (1 << size) - 1, *(int.from_bytes(rng.bytes(13), "little") % (1 << size) for _ in range(30))]
    assert settle(m, [x], y, [[word] for word in words]) == [word.bit_count() for word in words]


@pytest.mark.parametrize("terms", [1, 2, 5])
def test_signed_terms_and_terms_of_several_widths(terms: int) -> None:
    m, y, z = Module(), Signal(signed(16)), Signal(16)
    signals = [Signal(signed(2), name=f"t{index}") for index in range(terms)]
    others = [Signal(1 + index % COUNTED_BITS, name=f"u{index}") for index in range(terms)]
    m.d.comb += [y.eq(total(m, signals)), z.eq(total(m, others))]
    rng = np.random.default_rng(0)
    rows = np.vstack([rng.integers(-2, 2, (20, terms)), np.full((1, terms), -2)]).tolist()
    assert settle(m, signals, y, rows) == [sum(row) for row in rows]
    rows = rng.integers(0, [1 << len(other) for other in others], (20, terms)).tolist()
    assert settle(m, others, z, rows) == [sum(row) for row in rows]


@pytest.mark.parametrize("width", [1, COUNTED_BITS, COUNTED_BITS + 1])
@pytest.mark.parametrize("terms", [1, 2, 5])
def test_total_adds_unsigned_terms(width: int, terms: int) -> None:
    m, y = Module(), Signal(16)
    signals = [Signal(width, name=f"t{index}") for index in range(terms)]
    m.d.comb += y.eq(total(m, signals))
    rows = np.random.default_rng(0).integers(0, 1 << width, (20, terms)).tolist()
    rows.append([(1 << width) - 1] * terms)
    assert settle(m, signals, y, rows) == [sum(row) for row in rows]


@pytest.mark.parametrize(
    ("width", "kind"), [(1, "bipolar"), (1, "unsigned"), (1, "signed"), (4, "unsigned"), (4, "signed")]
)
def test_an_activation_is_gain_times_raw_plus_base(width: int, kind: Kind) -> None:
    m, y = Module(), Signal(8)
    x = Signal(signed(width) if kind == "signed" else unsigned(width))
    m.d.comb += y.eq(raw(kind, x))
    port = Port(width, kind, 1, 1)
    values = [-1, 1] if kind == "bipolar" else list(range(port.low, port.high + 1))
    found = settle(m, [x], y, [[int(v > 0) if kind == "bipolar" else v] for v in values])
    assert [gain(kind) * u + base(width, kind) for u in found] == values
    assert min(found) == 0
    assert max(found) == (1 << width) - 1
