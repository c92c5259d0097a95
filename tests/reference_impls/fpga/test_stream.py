from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.fpga.ports import IntArray, Port, Stage
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.stream import LUT_DEPTH, Fifo, Skid, WidthConverter


def random_frames(port: Port, count: int, seed: int = 0) -> IntArray:
    rng = np.random.default_rng(seed)
    if port.kind == "bipolar":
        return 2 * rng.integers(0, 2, (count, port.elements)) - 1
    return rng.integers(port.low, port.high + 1, (count, port.elements))


def assert_documented(stage: Stage, frames: int = 4) -> None:
    """Outputs equal the frames; latency and interval are those that the stage states."""
    data = random_frames(stage.input, frames)
    run = simulate(stage, data)
    assert (run.outputs == data).all()
    assert (run.interval, run.latency) == (stage.interval, stage.latency)


PORTS = (
    Port(1, "bipolar", 8, 4),
    Port(4, "signed", 3, 6),
    Port(8, "unsigned", 1, 12),
)


@pytest.mark.parametrize("port", PORTS)
def test_skid_passes_a_beat_each_cycle_one_cycle_late(port: Port) -> None:
    assert_documented(Skid(port))


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("depth", [1, 2, 3, 8])
def test_fifo_passes_a_beat_each_cycle(port: Port, depth: int) -> None:
    assert_documented(Fifo(port, depth))


def test_deep_fifo_reads_through_a_register() -> None:
    stage = Fifo(PORTS[1], LUT_DEPTH + 1)
    assert stage.latency == 2
    assert_documented(stage)


@pytest.mark.parametrize("depth", [1, 2, 5, LUT_DEPTH, LUT_DEPTH + 1])
def test_fifo_holds_exactly_its_depth(depth: int) -> None:
    dut = Fifo(PORTS[2], depth).build()
    held = 0

    async def bench(ctx: Any) -> None:
        nonlocal held
        ctx.set(dut.i.valid, 1)
        for value in range(depth + 10):
            ctx.set(dut.i.payload, value)
            held += ctx.get(dut.i.ready)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert held == depth


def test_skid_ready_does_not_look_downstream() -> None:
    dut = Skid(PORTS[2]).build()
    seen: list[tuple[int, int]] = []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.i.valid, 1)
        for _ in range(4):
            ctx.set(dut.o.ready, 1)
            open_ready = ctx.get(dut.i.ready)
            ctx.set(dut.o.ready, 0)
            seen.append((open_ready, ctx.get(dut.i.ready)))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [(1, 1), (1, 1), (0, 0), (0, 0)]  # two beats fit


@pytest.mark.parametrize(
    ("port", "lanes", "interval", "latency"),
    [
        (Port(1, "bipolar", 8, 4), 2, 16, 1),  # fewer
        (Port(4, "signed", 3, 6), 1, 18, 1),
        (Port(4, "signed", 3, 6), 9, 6, 3),  # more
        (Port(8, "unsigned", 1, 12), 12, 12, 12),
        (Port(3, "unsigned", 4, 6), 6, 12, 4),  # neither divides the other: through 2 lanes
        (Port(3, "signed", 6, 2), 4, 6, 3),
    ],
)
def test_width_converter_keeps_order_interval_and_latency(port: Port, lanes: int, interval: int, latency: int) -> None:
    stage = WidthConverter(port, lanes)
    assert (stage.interval, stage.latency) == (interval, latency)
    assert stage.output == Port(port.width, port.kind, lanes, port.elements // lanes)
    assert_documented(stage)


@given(
    width=st.integers(1, 5),
    before=st.integers(1, 6),
    after=st.integers(1, 6),
    stall=st.sampled_from([0.0, 0.3, 0.7]),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_everything_passes_in_order_under_stalls(width: int, before: int, after: int, stall: float, seed: int) -> None:
    port = Port(width, "signed", before, 2 * after)
    frames = random_frames(port, 2, seed)
    stages: list[Stage] = [Skid(port), Fifo(port, 1), Fifo(port, after + 1), Fifo(port, LUT_DEPTH + after)]
    if before != after:
        stages.append(WidthConverter(port, after))
    for stage in stages:
        assert (simulate(stage, frames, stall=stall, seed=seed, restart=True).outputs == frames).all()
        assert stage.model(frames) is frames


def test_labels_name_the_size() -> None:
    assert Skid(PORTS[0]).label == "skid"
    assert Fifo(PORTS[0], 8).label == "FIFO of 8"
    assert WidthConverter(PORTS[0], 4).label == "8 to 4 lanes"
    assert Skid(PORTS[0]).depth == WidthConverter(PORTS[0], 4).depth == 0


@pytest.mark.parametrize(
    ("depth", "lanes", "message"),
    [
        (0, 4, "depth of at least 1"),
        (1, 8, "leave the converter out"),
        (1, 5, "do not divide the 32 elements"),
        (1, 0, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(depth: int, lanes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        (Fifo(PORTS[0], depth), WidthConverter(PORTS[0], lanes))
