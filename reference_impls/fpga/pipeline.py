r"""A chain of units as one unit: width converters where lanes differ, a FIFO where the consumer needs one.

A matrix-vector unit takes its SF beats while it computes the first of its NF output groups, then takes nothing for
the other groups. Without room in between it would block its producer for that long, so the FIFO before a unit is as
deep as the unit's `depth`. Outputs are right at any depth; only the interval shows a FIFO that is too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reference_impls.fpga.ports import IntArray, Port, Stage
from reference_impls.fpga.stream import Fifo, Skid, WidthConverter


@dataclass(frozen=True)
class Pipeline:
    r"""Stages in a row.

    The initiation interval is that of the slowest stage,

    $$ II = \max_s II_s $$

    (Umuroglu et al., FINN, FPGA 2017, Sec. 4.3); tests hold the simulated cycles to it.

    Attributes:
        stages: in order of the data, as the user gave them; what joins them is in `chain`.
        depths: FIFO depth before each stage; None for what the stages ask for.
    """

    stages: tuple[Stage, ...]
    depths: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Raise ValueError where two neighbours do not fit."""
        if not self.stages:
            raise ValueError("a pipeline needs at least one stage")
        if self.depths is not None and len(self.depths) != len(self.stages):
            raise ValueError(f"{len(self.stages)} stages need as many FIFO depths, not {len(self.depths)}")
        for before, after in zip(self.stages, self.stages[1:], strict=False):
            left, right = before.output, after.input
            if (left.width, left.kind, left.elements) != (right.width, right.kind, right.elements):
                raise ValueError(
                    f"{before.label} sends {left.elements} elements of {left.width} bits, {left.kind}; "
                    f"{after.label} takes {right.elements} of {right.width} bits, {right.kind}"
                )

    @property
    def chain(self) -> tuple[Stage, ...]:
        """All units in order: a skid buffer, then every stage behind its width converter and FIFO."""
        units: list[Stage] = [Skid(self.stages[0].input)]
        for index, stage in enumerate(self.stages):
            before = units[-1].output
            if before.lanes != stage.input.lanes:
                units.append(WidthConverter(before, stage.input.lanes))
            depth = stage.depth if self.depths is None else self.depths[index]
            if depth > 0 and index > 0:
                units.append(Fifo(stage.input, depth))
            units.append(stage)
        return tuple(units)

    @property
    def label(self) -> str:
        """The stages' labels."""
        return " -> ".join(stage.label for stage in self.stages)

    @property
    def input(self) -> Port:
        """The first stage's input."""
        return self.stages[0].input

    @property
    def output(self) -> Port:
        """The last stage's output."""
        return self.stages[-1].output

    @property
    def interval(self) -> int:
        """Cycles from one frame to the next: those of the slowest unit."""
        return max(unit.interval for unit in self.chain)

    @property
    def latency(self) -> int:
        """Sum of the units' latencies: a lower bound, since a unit may need several beats before it can answer."""
        return sum(unit.latency for unit in self.chain)

    @property
    def depth(self) -> int:
        """What the first stage asks for."""
        return self.stages[0].depth

    def model(self, frames: IntArray) -> IntArray:
        """Apply the stages' integer models in turn: (frames, input elements) to (frames, output elements)."""
        for stage in self.stages:
            frames = stage.model(frames)
        return frames

    def trace(self, frames: IntArray) -> list[IntArray]:
        """Return what leaves each stage, in order."""
        found = []
        for stage in self.stages:
            frames = stage.model(frames)
            found.append(frames)
        return found

    def build(self) -> Any:
        """Return the component: ports `i` and `o`, one submodule a unit."""
        return _Chain(self.chain)


class _Chain(wiring.Component):
    def __init__(self, units: Sequence[Stage]) -> None:
        self.units = units
        super().__init__({"i": In(units[0].input.signature()), "o": Out(units[-1].output.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002  Amaranth's signature
        m = Module()
        tail: Any = wiring.flipped(self.i)
        for index, unit in enumerate(self.units):
            component = unit.build()
            name = type(unit).__name__.lower()
            m.submodules[f"u{index}_{name}"] = component
            wiring.connect(m, tail, component.i)
            tail = component.o
        wiring.connect(m, tail, wiring.flipped(self.o))
        return m
