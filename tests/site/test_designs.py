from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qkb.site.designs import conditions, designs, designs_of, designs_table, notes, plots
from qkb.site.page import Page
from qkb.site.pages import Renderer
from qkb.site.survey import Survey
from reference_impls.fpga.results import Gates, Hardware, Speed, Unit

TEMPLATES = Path(__file__).parents[2] / "site" / "templates"
PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" width="9"><title>streams</title><path d="M0 0"/></svg>'
GATES = Gates(1240, 789, 579, 5, 0, 2452)
SPEED = Speed(120.5, (118.0, 120.5, 125.0), (1, 2, 3), 100.0, "LFE5U-25F, CABGA381, speed grade 6")
FOUND = Hardware(
    "mlp",
    0,
    "w1a1",
    "",
    597,
    (95.142, 95.142, 95.142),
    0,
    "verilator",
    (128, 128.0),
    331,
    (Unit("skid", 16, 1), Unit("matrix-vector 32 x 64, PE 4", 128, 19)),
    GATES,
    SPEED,
    {"torch": "2.13.0", "verilator": "5.48.0"},
)
TINY, SCALED, WIDE = "tiny-sign", "scaled-sign", "wide-steps"


def changed(**changes: Any) -> Hardware:
    return replace(FOUND, **changes)


@pytest.fixture
def made(survey: Survey) -> Survey:
    """The small library with four designs."""
    hardware = {
        TINY: {"mlp": FOUND, "cnn": changed(network="cnn", speed=None)},
        SCALED: {"mlp": changed(bits="w2a8", accuracy=(97.0,) * 3, note="8-bit activations")},
        WIDE: {"mlp": changed(bits="w4a4", accuracy=(91.0,) * 3, gates=None, speed=None, seed=3)},
    }
    beside = {f"mlp/{TINY}": {".svg": PICTURE, ".v.gz": b"v" * 16_900, ".vcd.gz": b"w" * 400}}
    return replace(survey, hardware=hardware, beside=beside)


def test_designs_by_network_the_most_accurate_first(made: Survey) -> None:
    found = designs(made)
    assert {network: [d.record.id for d in members] for network, members in found.items()} == {
        "mlp": [SCALED, TINY, WIDE],
        "cnn": [TINY],
    }
    assert [design.page for design in designs_of(made, made.records[TINY])] == [
        "fpga/mlp/tiny-sign.md",
        "fpga/cnn/tiny-sign.md",
    ]
    assert [design.kind for design in found["mlp"]] == ["2-bit weights", "1-bit weights", "wider weights"]


def test_tables_leave_out_what_was_not_measured(made: Survey) -> None:
    page = Page("fpga.md", made)
    rows = designs_table(designs(made)["mlp"], page).splitlines()
    assert rows[0] == "| Design | Bits | Accuracy | Cycles | LUT4 | LUT positions | FF | BRAM | MHz | Images/s |"
    assert (
        rows[3]
        == "| [tiny-sign](fpga/mlp/tiny-sign.md) | w1a1 | 95.14 % | 128 | 1240 | 2452 | 789 | 5 | 120.5 | 941406 |"
    )
    assert rows[4] == "| [wide-steps](fpga/mlp/wide-steps.md) | w4a4 | 91.00 % | 128 |  |  |  |  |  |  |"


def test_plots_show_what_was_measured_and_lead_to_the_designs(made: Survey) -> None:
    page = Page("fpga.md", made)
    area, speed = plots(designs(made)["mlp"], page).split("\n\n")
    assert area.count("<a href=") == speed.count("<a href=") == 2
    assert '<a href="mlp/tiny-sign/">' in area
    assert "<title>tiny-sign, w1a1: 95.14 %, 2,452 LUT positions (ECP5)</title>" in area
    assert "<title>scaled-sign, w2a8: 97.00 %, 941,406 images per second</title>" in speed
    assert "MLP: accuracy against LUTs, 2 designs" in area
    (only,) = plots(designs(made)["cnn"], page).split("\n\n")  # nothing was routed
    assert "CNN: accuracy against LUTs, 1 design" in only
    assert plots(designs(made)["mlp"][2:], page) == ""


def test_conditions_name_each_difference(made: Survey) -> None:
    assert conditions(designs(made)["mlp"]) == [
        "Training seed 0; or 3; 597 test images.",
        "Folded to 128 cycles an image.",
        "Clock: LFE5U-25F, CABGA381, speed grade 6, asked for 100 MHz, median of the placer's seeds 1, 2, 3.",
        "Tools: torch 2.13.0, verilator 5.48.0.",
    ]
    slow = replace(designs(made)["cnn"][0], result=changed(interval=(324, 324.0)))
    assert "Folded to 128 to 324 cycles an image." in conditions([*designs(made)["cnn"], slow])
    assert "Not placed and routed: no clock." in conditions(designs(made)["cnn"])
    members = designs(made)["mlp"]
    assert notes(members) == ["8-bit activations"]
    both = replace(members[0], result=replace(members[0].result, note="8-bit activations; after training"))
    assert notes([both, *members]) == ["8-bit activations", "after training"]


def test_the_page_of_a_design(made: Survey) -> None:
    page = Renderer(made, TEMPLATES).pages()["fpga/mlp/tiny-sign.md"]
    for expected in (
        "# tiny-sign on the FPGA, MLP",
        "[Tiny Sign: Networks with One-Bit Weights](../../papers/tiny-sign.md) (2015)",
        "Hidden layer w1a1; first and last layer with 8-bit weights.\n",
        "64 inputs, two hidden layers of 32 units, 10 classes; it was trained with seed 0",
        "| 597 test images | 95.14 % | 95.14 % | 95.14 % | 0 |",
        "| matrix-vector 32 x 64, PE 4 | 128 | 19 |",
        "| Cycles per image | 128 (the model says 128; verilator) |",
        "| Latency, first pixel to class | 331 cycles, 2.75 µs at the highest clock |",
        "| LUT positions, with carry chains and LUT memories | 2,452 |",
        "| Clock | 120.5 MHz, the median of 118, 120.5, 125 (seeds 1, 2, 3) |",
        "| Asked for | 100 MHz |",
        "| Device | LFE5U-25F, CABGA381, speed grade 6 |",
        "| Images per second | 941,406 |",
        "<title>streams</title>",
        (
            "[Verilog](tiny-sign.v.gz) (gzip, 17 kB), [Waveform of two images (VCD)](tiny-sign.vcd.gz) (gzip, 1 kB), "
            "[Result (JSON)](tiny-sign.json) (1 kB)"
        ),
        "qkb run tiny-sign --target fpga --network mlp --verilog build/fpga/mlp --vcd build/fpga/mlp/tiny-sign.vcd",
        "Made with torch 2.13.0, verilator 5.48.0.",
    ):
        assert expected in page
    assert page.count("Block diagram of the pipeline") == 2  # for wide and for narrow windows


def test_the_page_of_a_design_without_cells_and_files(made: Survey) -> None:
    pages = Renderer(made, TEMPLATES).pages()
    page = pages["fpga/mlp/wide-steps.md"]
    assert "Cells were not counted." in page
    assert "| Latency, first pixel to class | 331 cycles |" in page
    assert "--network mlp --seed 3 --verilog" in page
    for absent in ("LUT4", "MHz", "## Waveform", "Verilog]"):
        assert absent not in page
    assert "Not placed and routed, so there is no clock." in pages["fpga/cnn/tiny-sign.md"]
    assert "weights; not the method&#39;s own" not in pages["fpga/cnn/tiny-sign.md"]
    assert (
        "first and last layer with 8-bit weights; not the method's own: 8-bit activations."
        in (pages["fpga/mlp/scaled-sign.md"])
    )


def test_downloads_are_what_the_pages_lead_to(made: Survey) -> None:
    files = Renderer(made, TEMPLATES).downloads()
    assert sorted(files) == [
        "fpga/cnn/tiny-sign.json",
        "fpga/mlp/scaled-sign.json",
        "fpga/mlp/tiny-sign.json",
        "fpga/mlp/tiny-sign.v.gz",
        "fpga/mlp/tiny-sign.vcd.gz",
        "fpga/mlp/wide-steps.json",
    ]
    assert json.loads(files["fpga/mlp/tiny-sign.json"])["gates"]["lut"] == 1240


def test_the_overview_and_the_ways_to_it(made: Survey, survey: Survey) -> None:
    pages = Renderer(made, TEMPLATES).pages()
    overview = pages["fpga.md"]
    assert overview.index("## Multilayer perceptron") < overview.index("## Convolutional network")
    assert "3 designs of one network: 64 inputs" in overview
    assert "the design's page then says what stands in:\n\n- 8-bit activations\n" in overview
    assert "**3** [methods on the FPGA](fpga.md)" in pages["index.md"]
    empty = Renderer(survey, TEMPLATES).pages()
    assert "There are no accepted designs yet." in empty["fpga.md"]
    assert "fpga.md" not in empty["index.md"]
    assert not [path for path in empty if path.startswith("fpga/")]


def test_the_section_of_a_paper(made: Survey, survey: Survey) -> None:
    page = Renderer(made, TEMPLATES).pages()["papers/tiny-sign.md"]
    section = page.split("## On the FPGA")[1].split("\n## ")[0]
    assert "| [Multilayer perceptron (MLP)](../fpga/mlp/tiny-sign.md) | w1a1 | 95.14 % | 128 | 1240 |" in section
    assert "| [Convolutional network (CNN)](../fpga/cnn/tiny-sign.md) | w1a1 |" in section
    assert "[All designs](../fpga.md)" in section
    assert "Not the method" not in section
    assert "qkb run tiny-sign --target fpga" in section
    noted = Renderer(made, TEMPLATES).pages()["papers/scaled-sign.md"]
    assert "- Not the method's own: 8-bit activations." in noted
    assert "On the FPGA" not in Renderer(survey, TEMPLATES).pages()["papers/tiny-sign.md"]
