from __future__ import annotations

import math
import random
import re
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest

from reference_impls.kit.scatter import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RADIUS,
    TOP,
    WIDTH,
    Box,
    Point,
    Scale,
    place_labels,
    scatter_svg,
)

SVG = "{http://www.w3.org/2000/svg}"
POINTS = [
    Point("one <b>", 1000, 90.0, "1-bit weights", "mlp/one/", "one: 90 %"),
    Point("two", 2000, 95.0, "2-bit weights", "mlp/two/", "two: 95 %"),
    Point("three", 1500, 92.5, "1-bit weights"),
]


def marks(svg: str) -> list[tuple[float, float]]:
    """Return where the marks of the points are."""
    found = re.findall(r'transform="translate\(([\d.]+) ([\d.]+)\)" d="[^"]+" fill="[^"]+" fill-opacity', svg)
    return [(float(x), float(y)) for x, y in found]


def test_the_plot_is_well_formed_and_its_points_are_links() -> None:
    root = ET.fromstring(scatter_svg(POINTS, "LUTs", "accuracy, %", 'all "designs"'))  # noqa: S314 (our own text)
    assert root.get("aria-label") == 'all "designs"'
    links = root.findall(f"{SVG}a")
    assert [link.get("href") for link in links] == ["mlp/one/", "mlp/two/"]
    assert [link.findtext(f"{SVG}title") for link in links] == ["one: 90 %", "two: 95 %"]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    for expected in ("one <b>", "two", "three", "LUTs", "accuracy, %", "1-bit weights", "2-bit weights"):
        assert texts.count(expected) == 1


def test_points_are_to_scale() -> None:
    first, second, middle = marks(scatter_svg(POINTS, "x", "y", "t"))
    assert first[0] < middle[0] < second[0]
    assert first[1] > middle[1] > second[1]  # downwards is up in SVG
    assert middle[0] == pytest.approx((first[0] + second[0]) / 2, abs=0.1)
    assert middle[1] == pytest.approx((first[1] + second[1]) / 2, abs=0.1)
    for x, y in (first, second):
        assert LEFT < x < WIDTH
        assert TOP < y < HEIGHT - BOTTOM


def test_a_wide_axis_is_logarithmic_and_says_so() -> None:
    points = [Point("a", 100, 1), Point("b", 1000, 2), Point("c", 10_000, 3)]
    svg = scatter_svg(points, "LUTs", "y", "t")
    (a, _), (b, _), (c, _) = marks(svg)
    assert b - a == pytest.approx(c - b, abs=0.2)
    assert "LUTs (logarithmic)" in svg
    assert "logarithmic" not in scatter_svg(points[:1], "LUTs", "y", "t")


def test_kinds_share_a_mark_and_one_kind_needs_no_legend() -> None:
    svg = scatter_svg(POINTS, "x", "y", "t")
    shapes = re.findall(r'd="([^"]+)" fill="[^"]+" fill-opacity', svg)
    assert shapes[0] == shapes[2] != shapes[1]
    assert "1-bit weights" not in scatter_svg([POINTS[0], POINTS[2]], "x", "y", "t")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([90, 100], [90, 92, 94, 96, 98, 100]),
        ([2400, 6000], [3000, 4000, 5000, 6000]),
        ([0.1, 0.4], [0.1, 0.2, 0.3, 0.4]),
        ([1000, 30_000], [1000, 3000, 10_000, 30_000]),
        ([3, 4_000_000], [10.0**k for k in range(1, 7)]),
        ([7, 7], [6.8, 7.0, 7.2]),
        ([0, 0], [-1.0, -0.5, 0.0, 0.5, 1.0]),
    ],
)
def test_ticks_are_round_and_on_the_axis(values: list[float], expected: list[float]) -> None:
    scale = Scale.around(values, 0, 100)
    assert scale.ticks() == pytest.approx(expected)
    assert all(0 <= scale.at(tick) <= 100 for tick in scale.ticks())


def test_an_axis_from_zero_is_never_logarithmic() -> None:
    assert not Scale.around([0, 1000], 0, 1).logarithmic
    assert not Scale.around([1, 1000], 0, 1, wide=False).logarithmic


def test_labels_keep_clear_of_each_other_and_of_the_points() -> None:
    draw = random.Random(1)  # noqa: S311 (no secret)
    places = [(draw.uniform(200, 360), draw.uniform(150, 300)) for _ in range(30)]
    texts = [f"method-{i}" + "-long" * (i % 3) for i in range(30)]
    labels = place_labels(texts, places)
    dots = [Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in places]
    assert sum(a.box.overlap(b.box) for a, b in combinations(labels, 2)) == 0
    assert sum(label.box.overlap(dot) for label in labels for dot in dots) == 0
    for label, place in zip(labels, places, strict=True):
        near = math.dist(place, (min(max(place[0], label.box.left), label.box.right), place[1]))
        assert label.joined or near < 12
        assert label.box.left >= LEFT
        assert label.box.right <= WIDTH
        assert label.box.bottom <= HEIGHT - BOTTOM


def test_where_there_is_no_room_labels_still_have_a_place() -> None:
    labels = place_labels(["same-place"] * 150, [(300.0, 200.0)] * 150)
    assert len(labels) == 150
    assert len({label.box for label in labels}) > 50


def test_a_label_wider_than_the_plot_is_refused() -> None:
    with pytest.raises(ValueError, match="wider than the plot"):
        place_labels(["x" * 500], [(300.0, 200.0)])
