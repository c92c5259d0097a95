"""What the hardware tests share: a skip with a reason where a tool is missing, a cache that goes, and a small unit."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reference_impls.fpga import tools
from reference_impls.fpga.ports import IntArray, Port

Fault = Literal["", "follows ready", "changes", "one too many", "stuck", "forgets reset", "wrong sum"]


@pytest.fixture
def need() -> Callable[..., None]:
    """Skip a test where a tool is missing, and say which; where CI is set, fail instead."""

    def check(*names: tools.Name) -> None:
        reason = tools.missing(*names)
        if reason is not None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)

    return check


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for compiled simulators and synthesis results that all tests of a session share."""
    return tmp_path_factory.mktemp("fpga-cache")


@dataclass(frozen=True)
class Adder:
    """A unit for tests: adds up a frame of signed bytes, `lanes` a beat, into one 16-bit element."""

    lanes: int = 2
    beats: int = 4
    fault: Fault = ""

    @property
    def label(self) -> str:
        return f"adder of {self.lanes} x {self.beats}"

    @property
    def input(self) -> Port:
        return Port(8, "signed", self.lanes, self.beats)

    @property
    def output(self) -> Port:
        return Port(16, "signed", 1, 1)

    @property
    def interval(self) -> int:
        return self.beats

    @property
    def latency(self) -> int:
        return self.beats

    @property
    def depth(self) -> int:
        return 0

    def model(self, frames: IntArray) -> IntArray:
        total: IntArray = frames.sum(axis=1, keepdims=True)
        return total

    def build(self) -> Any:
        return _AdderHardware(self)


class _AdderHardware(wiring.Component):
    """Accumulator, beat counter, and one output register; `fault` breaks one thing."""

    def __init__(self, of: Adder) -> None:
        self.of = of
        super().__init__({"i": In(of.input.signature()), "o": Out(of.output.signature())})

    def elaborate(self, _platform: Any) -> Module:
        m = Module()
        of, fault = self.of, self.of.fault
        total = Signal(signed(16), reset_less=fault == "forgets reset")
        beat = Signal(range(of.beats + 1), reset_less=fault == "forgets reset")
        full = Signal()
        kept = Signal(signed(16))
        free = ~full | self.o.ready
        last = beat == of.beats - 1
        elements = [of.input.lane(self.i.payload, lane) for lane in range(of.lanes)]
        added = Mux(beat == 0, 0, total) + sum(elements[1:] if fault == "wrong sum" else elements, Const(0, 1))
        m.d.comb += [
            self.i.ready.eq(free & (beat != of.beats if fault == "stuck" else 1)),
            self.o.valid.eq(full & self.o.ready if fault == "follows ready" else full),
            self.o.payload.eq(kept),
        ]
        with m.If(free):
            m.d.sync += full.eq(0)
        if fault == "changes":
            m.d.sync += kept.eq(kept + 1)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [total.eq(added), beat.eq(beat + 1)]
            with m.If(last):
                m.d.sync += [full.eq(1), kept.eq(added)]
                if fault != "stuck":
                    m.d.sync += beat.eq(0)
        if fault == "one too many":
            given = Signal(8)
            with m.If(self.o.valid & self.o.ready):
                m.d.sync += given.eq(given + 1)
                with m.If(given == 3):
                    m.d.sync += full.eq(1)
        return m


@pytest.fixture(scope="session")
def adder() -> type[Adder]:
    """The unit that these tests use where any unit does."""
    return Adder
