from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from reference_impls.fpga import tools
from reference_impls.fpga.bench import FAULTS, SimulationError, stimulus
from reference_impls.fpga.tools import ToolError
from reference_impls.fpga.verilated import build, verilate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.reference_impls.fpga.conftest import Adder

# One register; its first beat says which rule of the handshake to break from then on (0: none).
BREAKER = """\
module top (
    input clk, input rst,
    input [7:0] s_axis_tdata, input s_axis_tvalid, output s_axis_tready,
    output [15:0] m_axis_tdata, output m_axis_tvalid, input m_axis_tready
);
  reg full = 0;
  reg [2:0] fault = 0;
  reg [3:0] count = 0;
  reg [7:0] kept = 0;
  assign s_axis_tready = (!full || m_axis_tready) && !(fault == 4 && count == 3);
  assign m_axis_tvalid = fault == 1 ? full && m_axis_tready : full;
  assign m_axis_tdata = {8'd0, kept};
  always @(posedge clk) begin
    if (m_axis_tready) full <= 0;
    if (fault == 2) kept <= kept + 1;
    if (s_axis_tvalid && s_axis_tready) begin
      full <= 1;
      kept <= s_axis_tdata;
      count <= count + 1;
      if (count == 0) fault <= s_axis_tdata[2:0];
    end
    if (fault == 3 && count == 12 && m_axis_tready) full <= 1;
    if (rst) {full, fault, count} <= 0;
  end
endmodule
"""


@pytest.mark.slow
def test_every_fault_is_caught(adder: type[Adder], need: Callable[..., None], cache: Path) -> None:
    need("verilator", "c++")
    stage = adder(1, 1)
    for fault in range(5):
        frames = np.array([[fault], *[[beat] for beat in range(100, 111)]])
        drive = stimulus(stage, frames, stall=0.5, seed=1)
        if not fault:
            moves = verilate(stage, drive, cache=cache, verilog=BREAKER)
            assert (stage.output.decode(moves.beats) == frames).all()
            continue
        with pytest.raises(SimulationError, match=FAULTS[fault - 1]) as caught:
            verilate(stage, drive, cache=cache, verilog=BREAKER)
        assert str(caught.value).startswith("adder of 1 x 1: cycle ")


@pytest.mark.slow
def test_a_program_is_built_once(need: Callable[..., None], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("verilator", "c++")
    program = build(BREAKER, cache=cache)

    def refuse(*arguments: object, **options: object) -> bytes:
        raise ToolError("a tool was started")

    monkeypatch.setattr(tools, "run", refuse)
    assert build(BREAKER, cache=cache) == program
    with pytest.raises(ToolError, match="a tool was started"):
        build(BREAKER.replace("8'd0", "8'd1"), cache=cache)


def test_verilog_that_is_wrong_is_told_by_verilator(need: Callable[..., None], cache: Path) -> None:
    need("verilator", "c++")
    with pytest.raises(ToolError, match=r"(?s)verilator failed.*top\.v:2"):
        build("module top (input clk);\n  wire = 3;\nendmodule\n", cache=cache)
