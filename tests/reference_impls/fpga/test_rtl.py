"""The hand-written SystemVerilog equals the unit that Amaranth builds: outputs and cycles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import reference_impls.fpga
from reference_impls.fpga.bench import stimulus
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.rom import hex_lines
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.verilated import verilate
from reference_impls.fpga.verilog import lint

SOURCE = Path(reference_impls.fpga.__file__).parent / "rtl" / "matrix_vector.sv"
TOP = """
module top (
    input  logic clk,
    input  logic rst,
    input  logic [{taken}-1:0] s_axis_tdata,
    input  logic s_axis_tvalid,
    output logic s_axis_tready,
    output logic [{given}-1:0] m_axis_tdata,
    output logic m_axis_tvalid,
    input  logic m_axis_tready
);
  matrix_vector #(
      .ROWS({rows}), .COLUMNS({columns}), .PE({pe}), .SIMD({simd}), .WEIGHTS("{weights}")
  ) unit (.*);
endmodule
"""


def whole(bits: int) -> int:
    return (bits + 7) // 8 * 8


def text(unit: MatrixVector, folder: Path) -> str:
    """The hand-written module with this unit's sizes and weights, under a module `top`."""
    weights = folder / "weights.hex"
    weights.write_text(hex_lines(unit.weight_rom.words, unit.weight_rom.width))
    top = TOP.format(
        taken=whole(unit.input.bits),
        given=whole(unit.output.bits),
        rows=unit.rows,
        columns=unit.columns,
        pe=unit.pe,
        simd=unit.simd,
        weights=weights.as_posix(),
    )
    return SOURCE.read_text() + top


def test_it_is_free_of_every_warning(need: Callable[..., None]) -> None:
    need("verilator")
    assert lint(SOURCE.read_text(), strict=True) == []


@pytest.mark.parametrize(("pe", "simd"), [(1, 1), (3, 5), (6, 15), (2, 15), (6, 3)])
def test_it_is_free_of_every_warning_at_other_foldings(pe: int, simd: int, need: Callable[..., None]) -> None:
    need("verilator")
    source = SOURCE.read_text()
    for name, default, value in (("ROWS", 64, 6), ("COLUMNS", 64, 15), ("PE", 8, pe), ("SIMD", 8, simd)):
        changed = [
            line.replace(f"= {default}", f"= {value}") if f"parameter int {name} " in line else line
            for line in source.splitlines(keepends=True)
        ]
        assert "".join(changed) != source
        source = "".join(changed)
    assert lint(source, strict=True) == []


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(64, 8, 8), (15, 4, 15), (18, 1, 3)])
def test_outputs_and_cycles_equal_those_of_the_built_unit(
    sizes: tuple[int, int, int], need: Callable[..., None], cache: Path, tmp_path: Path
) -> None:
    need("verilator", "c++")
    columns, pe, simd = sizes
    rng = np.random.default_rng(0)
    unit = MatrixVector(2 * rng.integers(0, 2, (16, columns)) - 1, 1, "bipolar", pe, simd, rom="lut")
    frames = 2 * rng.integers(0, 2, (6, columns)) - 1
    verilog = text(unit, tmp_path)
    for stall in (0.0, 0.4):
        built = simulate(unit, frames, stall=stall, seed=1, restart=True)
        written = verilate(
            unit, stimulus(unit, frames, stall=stall, seed=1, restart=True), cache=cache, verilog=verilog
        )
        assert (unit.output.decode(written.beats) == built.outputs).all()
        assert (built.outputs == frames @ unit.weights.T).all()
        assert (written.taken == built.taken).all()
        assert (written.emitted == built.emitted).all()
        assert written.first_valid == built.first_valid
