from __future__ import annotations

from typing import Any

import pytest
from amaranth.hdl import Const, Fragment, Module, Signal, signed
from amaranth.sim import Simulator

from reference_impls.fpga.delay import delay


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_value_comes_after_so_many_moves(times: int) -> None:
    m, move, value = Module(), Signal(), Signal(signed(6))
    late = delay(m, move, value, times)
    m.d.sync += Signal().eq(1)  # a clock, for the delay of none
    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    moved, seen = [], []

    async def bench(ctx: Any) -> None:
        for cycle in range(20):
            going = cycle % 3 != 1
            ctx.set(value, cycle - 10)
            ctx.set(move, going)
            if going:
                moved.append(cycle - 10)
                seen.append(ctx.get(late))
            await ctx.tick()

    simulator.add_testbench(bench)
    simulator.run()
    assert seen[times:] == moved[: len(moved) - times]
    assert seen[:times] == [0] * times


def test_a_constant_needs_no_register() -> None:
    m, constant = Module(), Const(-3, signed(4))
    assert delay(m, Signal(), constant, 5) is constant
    assert not Fragment.get(m, None).statements
