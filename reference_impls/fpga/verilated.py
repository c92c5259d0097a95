r"""The Verilator back end of `simulate`: Verilog to C++ (`verilator_bin`), with `harness.cpp` to a program (g++).

Neither make nor Perl is needed. A program is kept in the user's cache under the hash of all it was made from. It runs
as a process of its own, so a simulation that dies takes nothing with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reference_impls.fpga import tools
from reference_impls.fpga.bench import FAULTS, Moves, Stimulus, fault
from reference_impls.fpga.ports import Stage
from reference_impls.fpga.verilog import emit_verilog

_HARNESS = Path(__file__).with_name("harness.cpp")
_COMPILE = ("-std=c++20", "-pthread", "-w")
# A big design, which is a parallel one with few cycles a frame, would compile for minutes to save seconds of running.
_OPTIMISED_BYTES = 1_000_000
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
_BUILD_SECONDS, _RUN_SECONDS = 900, 600


def verilate(stage: Stage, drive: Stimulus, *, cache: Path | None = None, verilog: str | None = None) -> Moves:
    """Run a stage, or other Verilog with the same ports, as a compiled program.

    Args:
        stage: what is simulated.
        drive: beats and stalls.
        cache: folder for compiled programs; by default in the user's cache.
        verilog: the text to simulate in place of what `stage` builds; its top module is `top`.

    Raises:
        MissingToolError: if a tool is not installed.
        ToolError: if a tool fails.
        SimulationError: if the hardware breaks the contract of its streams.
    """
    program = build(emit_verilog(stage, cache=cache) if verilog is None else verilog, cache=cache)
    sizes = [len(drive.beats), drive.beats.shape[1], drive.expected, (stage.output.bits + 7) // 8]
    header = [*sizes, drive.patience, drive.surplus, drive.hold_input.size, drive.hold_output.size, drive.restart]
    stdin = b"".join(
        [
            np.array(header, dtype="<u8").tobytes(),
            drive.beats.tobytes(),
            drive.hold_input.tobytes(),
            drive.hold_output.tobytes(),
        ]
    )
    tool = tools.Tool("c++", "", (str(program),))
    raw = tools.run(tool, [], folder=program.parent, stdin=stdin, timeout=_RUN_SECONDS)
    status, cycle, taken, emitted, first = (int(number) for number in np.frombuffer(raw, dtype="<u8", count=5))
    if status:
        raise fault(stage, drive, cycle, FAULTS[status - 1], (taken, emitted))
    cycles = np.frombuffer(raw, dtype="<u8", count=taken + emitted, offset=40).astype(np.int64)
    beats = np.frombuffer(raw, dtype=np.uint8, offset=40 + 8 * cycles.size).reshape(emitted, -1)
    return Moves(beats, cycles[:taken], cycles[taken:], first)


def build(verilog: str, *, cache: Path | None = None) -> Path:
    """Return the program that simulates the module `top` of a Verilog text."""
    verilator, compiler = tools.find("verilator"), tools.find("c++")
    folder = (tools.cache_folder() if cache is None else cache) / "verilator"
    include = Path(verilator.environment["VERILATOR_ROOT"]) / "include"
    flags = [*_COMPILE, f"-I{include}", f"-I{include / 'vltstd'}"]
    base = [verilator.version, compiler.version, compiler.command, _COMPILE]

    def runtime(work: Path) -> Path:
        (work / "runtime.cpp").write_text("".join(f'#include "{name}"\n' for name in _RUNTIME))
        arguments = [*flags, "-O1", "-c", "runtime.cpp", "-o", "runtime.o"]
        tools.run(compiler, arguments, folder=work, timeout=_BUILD_SECONDS)
        return work / "runtime.o"

    def program(work: Path) -> Path:
        (work / "top.v").write_text(verilog)
        arguments = ["--cc", "-O3", "--top-module", "top", "--prefix", "Vtop", "--Mdir", "obj", "-Wno-fatal", "top.v"]
        tools.run(verilator, arguments, folder=work, timeout=_BUILD_SECONDS)
        (work / "harness.cpp").write_text(_HARNESS.read_text())
        sources = ["harness.cpp", *(f"obj/{file.name}" for file in sorted((work / "obj").glob("*.cpp")))]
        (work / "all.cpp").write_text("".join(f'#include "{name}"\n' for name in sources))
        common = tools.cached(folder, ["runtime", *base, _RUNTIME], runtime)
        size = sum((work / name).stat().st_size for name in sources)
        level = "-O1" if size < _OPTIMISED_BYTES else "-O0"
        arguments = [*flags, level, "-Iobj", "all.cpp", "-x", "none", str(common), "-o", "simulator"]
        tools.run(compiler, arguments, folder=work, timeout=_BUILD_SECONDS)
        return work / "simulator"

    return tools.cached(folder, ["program", *base, _OPTIMISED_BYTES, _HARNESS.read_text(), verilog], program)
