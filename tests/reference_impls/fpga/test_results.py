from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reference_impls.fpga.results import (
    Gates,
    Hardware,
    Speed,
    Unit,
    drift,
    from_json,
    read,
    result_path,
    to_json,
    write,
)

RESULT = Hardware(
    network="mlp",
    seed=0,
    bits="w1a1",
    note="",
    images=597,
    accuracy=(95.0, 95.0, 95.0),
    differences=0,
    simulator="verilator",
    interval=(128, 128.0),
    latency=258,
    units=(Unit("skid", 16, 1), Unit("argmax of 10 (PE 2)", 5, 6)),
    gates=Gates(1000, 800, 300, 5, 0, 1700),
    speed=Speed(64.0, (63.0, 64.0, 65.0), (1, 2, 3), 100.0, "LFE5U-25F"),
    versions={"torch": "2.13.0"},
)


@pytest.mark.parametrize("result", [RESULT, replace(RESULT, gates=None, speed=None)])
def test_a_file_gives_back_what_was_written(result: Hardware, tmp_path: Path) -> None:
    path = result_path(tmp_path, "mlp", "bnn")
    assert path == tmp_path / "results" / "fpga" / "mlp" / "bnn.json"
    write(path, result)
    assert read(path) == result
    assert [file.name for file in path.parent.iterdir()] == ["bnn.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", to_json(RESULT).replace('"units"', '"parts"')])
def test_another_file_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"x\.json: not a hardware result"):
        read(path)
    with pytest.raises(ValueError, match="--target fpga --accept writes one"):
        from_json(text)


def test_images_per_second_is_clock_over_cycles() -> None:
    assert RESULT.images_per_second == 500_000
    assert replace(RESULT, speed=None).images_per_second is None


@pytest.mark.parametrize(
    "change",
    [{"differences": 1}, {"interval": (128, 129.0)}, {"accuracy": (95.0, 95.0, 94.9)}],
    ids=lambda c: next(iter(c)),
)
def test_exact_means_every_image_and_every_cycle(change: dict[str, Any]) -> None:
    assert RESULT.exact
    assert not replace(RESULT, **change).exact


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"differences": 2}, "2 of 597 images differ"),
        ({"interval": (128, 140.0)}, "an image takes 140 cycles, and the model says 128"),
        ({"latency": 259}, "latency was 258, now 259"),
        ({"bits": "w1a2"}, "bits was w1a1, now w1a2"),
        ({"accuracy": (91.9, 91.9, 91.9)}, "accuracy was 95.0 %, now 91.9 %"),
        ({"gates": Gates(1101, 800, 300, 5, 0, 1700)}, "lut was 1000, now 1101"),
        ({"gates": Gates(1000, 700, 300, 5, 0, 1700)}, "ff was 800, now 700"),
        ({"gates": Gates(1000, 800, 300, 8, 0, 1700)}, "bram was 5, now 8"),
    ],
)
def test_drift_is_said(change: dict[str, Any], said: str) -> None:
    assert said in "; ".join(drift(RESULT, replace(RESULT, **change)))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"accuracy": (93.0, 93.0, 93.0)},
        {"gates": Gates(1090, 790, 900, 6, 0, 9)},
        {"gates": None},
        {"speed": None},
        {"versions": {}},
        {"simulator": "pysim"},
    ],
)
def test_what_follows_weights_or_tools_is_no_drift(change: dict[str, Any]) -> None:
    assert drift(RESULT, replace(RESULT, **change)) == []
