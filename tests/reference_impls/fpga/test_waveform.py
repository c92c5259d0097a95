from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from reference_impls.fpga.bench import Cycle
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.waveform import draw, waveform

if TYPE_CHECKING:
    from pathlib import Path

    from reference_impls.fpga.ports import IntArray
    from tests.reference_impls.fpga.conftest import Adder

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def frames() -> IntArray:
    return np.random.default_rng(0).integers(-128, 128, (6, 8))


def vcd_values(text: str, name: str) -> list[int]:
    """Read the values that a signal takes, one after the other."""
    (mark,) = {line.split()[3] for line in text.splitlines() if line.startswith("$var") and line.split()[4] == name}
    changes = [line for line in text[text.index("$dumpvars") :].splitlines() if line.endswith(mark)]
    return [int(line.removesuffix(mark).strip().removeprefix("b"), 2) for line in changes]


def test_vcd_holds_what_the_run_showed(adder: type[Adder], frames: IntArray, tmp_path: Path) -> None:
    stage = adder()
    path = tmp_path / "folder" / "two.vcd"
    trace = waveform(stage, frames, path)
    text = path.read_text()
    sums = [int(total) % 2**16 for total in stage.model(frames[:2])[:, 0]]
    assert vcd_values(text, "o__payload") == [0, *sums]
    assert vcd_values(text, "clk").count(1) >= len(trace)
    assert [at.output_payload for at in trace if at.output_valid and at.output_ready] == sums
    assert [file.name for file in path.parent.iterdir()] == ["two.vcd"]


def test_vcd_is_the_same_each_time(adder: type[Adder], frames: IntArray, tmp_path: Path) -> None:
    for name in ("a.vcd", "b.vcd"):
        waveform(adder(), frames, tmp_path / name)
    assert (tmp_path / "a.vcd").read_bytes() == (tmp_path / "b.vcd").read_bytes()
    assert "$date" not in (tmp_path / "a.vcd").read_text()


def test_trace_is_the_run(adder: type[Adder], frames: IntArray) -> None:
    stage = adder()
    trace = waveform(stage, frames, most=4, stall=0.4, seed=5)
    run = simulate(stage, frames[:4], stall=0.4, seed=5)
    assert [cycle for cycle, at in enumerate(trace) if at.input_valid and at.input_ready] == run.taken.tolist()
    assert [cycle for cycle, at in enumerate(trace) if at.output_valid and at.output_ready] == run.emitted.tolist()
    assert len(trace) == run.emitted[-1] + 1


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314


def test_picture_shows_beats_and_cycles(adder: type[Adder], frames: IntArray) -> None:
    stage = adder(1, 4)  # a beat is a byte, which there is room for
    few = frames[:, :4]
    said = texts(draw(stage, waveform(stage, few)))
    assert said[:9] == [str(cycle) for cycle in range(9)]
    assert [text for text in said if text in ("clk", "s_axis_tvalid", "m_axis_tready")] == [
        "clk",
        "s_axis_tvalid",
        "m_axis_tready",
    ]
    data = said[said.index("s_axis_tdata") + 1 : said.index("m_axis_tvalid")]
    assert data == [f"{int(value) % 256:02x}" for value in few[:2].ravel()]


def test_a_beat_that_waits_is_one_box(adder: type[Adder]) -> None:
    idle = Cycle(0, 1, 7, 0, 1, 0)
    trace = [idle, Cycle(1, 0, 7, 0, 1, 0), Cycle(1, 0, 7, 0, 1, 0), Cycle(1, 1, 7, 0, 1, 0), Cycle(1, 1, 7, 1, 1, 9)]
    svg = draw(adder(1, 4), trace)
    titles = [element.text for element in ET.fromstring(svg).iter(f"{SVG}title")]  # noqa: S314
    assert titles == [
        "adder of 1 x 4: the streams in and out, clock cycles 0 to 4",
        "0x7, moves",  # waits for two cycles, then moves
        "0x7, moves",  # the next beat, though it looks alike
        "0x9, moves",
    ]
    assert "waits" in draw(adder(1, 4), trace[:3])


def test_a_long_run_is_shown_in_two_parts(adder: type[Adder]) -> None:
    stage = adder(1, 60)
    frames = np.random.default_rng(1).integers(-128, 128, (2, 60))
    svg = draw(stage, waveform(stage, frames), most=20)
    said = texts(svg)
    assert said[:20] == [*map(str, range(10)), *map(str, range(57, 67))]  # the first output comes in cycle 60
    assert "cycles 10 to 56 left out" in svg
    boxes = said[said.index("m_axis_tdata") + 1 :]
    assert len(boxes) == 1


def test_names_are_escaped(adder: type[Adder], frames: IntArray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adder, "label", "<script>")
    svg = draw(adder(), waveform(adder(), frames))
    assert "<script>" not in svg
    assert "&lt;script&gt;" in svg
