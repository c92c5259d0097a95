r"""The test bench of `simulate`: what a unit is fed with, what is watched, and the run in Amaranth's simulator.

The compiled back ends have the same bench in C++, harness.cpp, which does the same in the same order.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from numpy.typing import NDArray

from reference_impls.fpga.ports import Bytes, IntArray, Stage

Flags = NDArray[np.bool_]

_PERIOD = 10e-9  # 100 MHz: only the time axis of a waveform shows it
_STALL_CYCLES = (8191, 8179)  # two primes: the lists of stalls repeat together only after 67 million cycles

FAULTS = (
    "valid or payload follows ready within the cycle",
    "valid fell or the payload changed before the beat had moved",
    "one output beat too many",
    "no beat has moved for a long time",
)


class SimulationError(Exception):
    """The simulated hardware broke the contract of its streams."""


@dataclass(frozen=True, eq=False)
class Stimulus:
    """What both back ends are given.

    Attributes:
        beats: (input beats, bytes of a beat).
        expected: output beats that must come.
        hold_input: cycles in which no new input beat is offered, repeated from its start when used up.
        hold_output: cycles in which the output is not ready, repeated likewise.
        patience: cycles without a move after which the run has failed.
        surplus: cycles to watch after the last beat for one too many.
        restart: cycles to run on the first beats before a reset that must undo them; 0 for no reset.
    """

    beats: Bytes
    expected: int
    hold_input: Flags
    hold_output: Flags
    patience: int
    surplus: int
    restart: int


@dataclass(frozen=True, eq=False)
class Moves:
    """What both back ends return: the output beats as bytes, and the cycles of `Run`."""

    beats: Bytes
    taken: IntArray
    emitted: IntArray
    first_valid: int


@dataclass(frozen=True)
class Cycle:
    """The two streams as they stand at one clock edge."""

    input_valid: int
    input_ready: int
    input_payload: int
    output_valid: int
    output_ready: int
    output_payload: int


def stimulus(stage: Stage, frames: IntArray, *, stall: float = 0.0, seed: int = 0, restart: bool = False) -> Stimulus:
    """Return beats and stalls for a run; raise ValueError if an argument cannot be."""
    if not 0 <= stall < 1:
        raise ValueError(f"stall is the share of stalled cycles, from 0 up to but not 1, not {stall}")
    if len(frames) == 0:
        raise ValueError("there is nothing to simulate: frames is empty")
    random = np.random.default_rng(seed)
    hold_input, hold_output = (random.random(cycles) < stall for cycles in _STALL_CYCLES)
    longest = stage.interval + stage.latency + stage.input.beats + stage.output.beats
    return Stimulus(
        beats=stage.input.encode(frames),
        expected=len(frames) * stage.output.beats,
        hold_input=hold_input,
        hold_output=hold_output,
        patience=1000 + int(2 * longest / (1 - stall) ** 2),
        surplus=16 + 2 * stage.output.beats,
        restart=stage.latency + stage.interval // 2 + 1 if restart else 0,
    )


def pysim(stage: Stage, drive: Stimulus, *, vcd: Path | None = None, trace: list[Cycle] | None = None) -> Moves:
    """Run Amaranth's simulator.

    Args:
        stage: the unit or pipeline.
        drive: beats and stalls.
        vcd: file for the waveform of every signal.
        trace: list to which each cycle's state of the two streams is added.
    """
    dut = stage.build()
    top = Module()
    top.domains.sync = sync = ClockDomain()  # a unit without a register has no clock of its own
    top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_clock(_PERIOD)
    bench = _Bench(stage, drive, dut, sync.rst, trace)
    simulator.add_testbench(bench.run)
    recorder: AbstractContextManager[object] = nullcontext() if vcd is None else simulator.write_vcd(str(vcd))
    with recorder:
        simulator.run()
    size = (stage.output.bits + 7) // 8
    out = b"".join(beat.to_bytes(size, "little") for beat in bench.beats)
    return Moves(
        np.frombuffer(out, dtype=np.uint8).reshape(-1, size),
        np.array(bench.taken, dtype=np.int64),
        np.array(bench.emitted, dtype=np.int64),
        bench.first_valid,
    )


class _Bench:
    """Source, sink and watcher of one run in Amaranth's simulator."""

    def __init__(self, stage: Stage, drive: Stimulus, dut: Any, reset: Any, trace: list[Cycle] | None) -> None:
        self.stage, self.drive, self.trace = stage, drive, trace
        self.source, self.sink, self.reset = dut.i, dut.o, reset
        self.rows = [int.from_bytes(row.tobytes(), "little") for row in drive.beats]
        self.holds, self.stops = drive.hold_input.tolist(), drive.hold_output.tolist()
        self.cycle = self.moved = 0
        self.offered = self.ready = False
        self.held: int | None = None  # the beat that stood before a sink that was not ready
        self.beats: list[int] = []
        self.taken: list[int] = []
        self.emitted: list[int] = []
        self.first_valid = -1

    async def run(self, ctx: Any) -> None:
        """Clock the unit until every beat has come out, and a little longer to see that no more come."""
        if self.drive.restart:
            await self.restart(ctx)
        while self.step(ctx):
            await ctx.tick()
            self.cycle += 1

    async def restart(self, ctx: Any) -> None:
        """Start a frame, then reset: what the reset forgets will show in the outputs."""
        ctx.set(self.sink.ready, 1)
        ctx.set(self.source.valid, 1)
        beat = 0
        for _ in range(self.drive.restart):
            ctx.set(self.source.payload, self.rows[beat % len(self.rows)])
            beat += ctx.get(self.source.ready)
            await ctx.tick()
        ctx.set(self.source.valid, 0)
        ctx.set(self.sink.ready, 0)
        ctx.set(self.reset, 1)
        await ctx.tick()
        ctx.set(self.reset, 0)

    def step(self, ctx: Any) -> bool:
        """Do what one cycle needs before its clock edge; return whether there shall be an edge."""
        self.offer(ctx)
        valid, payload = self.listen(ctx)
        taking = self.offered and ctx.get(self.source.ready)
        if self.trace is not None:
            source = (self.offered, ctx.get(self.source.ready), ctx.get(self.source.payload))
            self.trace.append(Cycle(*map(int, (*source, valid, self.ready, payload))))
        if valid:
            self.first_valid = self.cycle if self.first_valid < 0 else self.first_valid
            if len(self.beats) == self.drive.expected:
                raise self.fault(2)
        self.held = payload if valid and not self.ready else None
        if taking:
            self.taken.append(self.cycle)
            self.offered, self.moved = False, self.cycle
        if valid and self.ready:
            self.emitted.append(self.cycle)
            self.beats.append(payload)
            self.moved = self.cycle
        done = len(self.taken) == len(self.rows) and len(self.beats) == self.drive.expected
        if self.cycle - self.moved <= (self.drive.surplus if done else self.drive.patience):
            return True
        if not done:
            raise self.fault(3)
        return False

    def offer(self, ctx: Any) -> None:
        """Offer a new beat, unless one still stands there, none is left or this cycle is a stall."""
        before = self.offered
        if not before and len(self.taken) < len(self.rows) and not self.holds[self.cycle % len(self.holds)]:
            self.offered = True
            ctx.set(self.source.payload, self.rows[len(self.taken)])
        if not before:
            ctx.set(self.source.valid, self.offered)

    def listen(self, ctx: Any) -> tuple[int, int]:
        """Set ready; return valid and payload, which must not care and must hold what they held."""
        valid, payload = ctx.get(self.sink.valid), ctx.get(self.sink.payload)
        if self.ready == self.stops[self.cycle % len(self.stops)]:
            self.ready = not self.ready
            ctx.set(self.sink.ready, self.ready)
            if ctx.get(self.sink.valid) != valid or (valid and ctx.get(self.sink.payload) != payload):
                raise self.fault(0)
        if self.held is not None and not (valid and payload == self.held):
            raise self.fault(1)
        return valid, payload

    def fault(self, which: int) -> SimulationError:
        """Return the error for FAULTS[which]."""
        return fault(self.stage, self.drive, self.cycle, FAULTS[which], (len(self.taken), len(self.beats)))


def fault(stage: Stage, drive: Stimulus, cycle: int, what: str, moved: tuple[int, int]) -> SimulationError:
    """Return the error that says what went wrong, when, and how many beats had moved in and out."""
    return SimulationError(
        f"{stage.label}: cycle {cycle}: {what}; {moved[0]} of {len(drive.beats)} beats were taken, {moved[1]} of "
        f"{drive.expected} came out"
    )
