from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from qkb.site.diagram import diagram_svg, lines_of
from reference_impls.fpga.results import Unit

SVG = "{http://www.w3.org/2000/svg}"
UNITS = [Unit(f"unit <{i}>", 10 * (i + 1), i) for i in range(5)]


def boxes(svg: str) -> list[tuple[float, float, float]]:
    """Return left, top and width of the units' boxes."""
    found = re.findall(r'<rect x="(\d+)" y="(\d+)" width="(\d+)" height="\d+" rx', svg)
    return [(float(x), float(y), float(width)) for x, y, width in found]


def test_units_stand_in_rows_inside_the_picture() -> None:
    for columns, rows in ((4, 2), (2, 3), (5, 1), (9, 1)):
        svg = diagram_svg(UNITS, columns)
        root = ET.fromstring(svg)  # noqa: S314 (our own text)
        found = boxes(svg)
        assert len({y for _, y, _ in found}) == rows
        assert [y for _, y, _ in found] == sorted(y for _, y, _ in found)
        assert max(x + width for x, _, width in found) <= float(root.get("width", ""))
        assert len(root.findall(f"{SVG}path")) == 2 * (len(UNITS) - 1)  # a line and a head from each to the next


def test_it_says_what_it_shows() -> None:
    root = ET.fromstring(diagram_svg(UNITS, 2))  # noqa: S314 (our own text)
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "Block diagram of the pipeline"
    assert "unit <0>: 10 cycles; unit <1>: 20 cycles" in root.findtext(f"{SVG}desc", "")
    assert [text.text for text in root.findall(f"{SVG}text")][:2] == ["unit <0>", "10 cycles"]


def test_the_bar_is_full_for_the_slowest_unit() -> None:
    svg = diagram_svg(UNITS, 5)
    full = re.findall(r'width="([\d.]+)" height="3" fill-opacity', svg)
    bars = re.findall(r'width="([\d.]+)" height="3" fill="', svg)
    assert [float(bar) / float(full[0]) for bar in bars] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_one_unit_needs_no_arrow() -> None:
    assert "<path" not in diagram_svg(UNITS[:1], 4)


def test_long_labels_are_cut_with_a_mark() -> None:
    lines = lines_of("matrix-vector 32 x 64, PE 4, SIMD 4, multiply, 8-bit weights, and very much more besides, DSP")
    assert len(lines) == 3
    assert lines[2].endswith("…")
    assert all(len(line) <= 24 for line in lines)
