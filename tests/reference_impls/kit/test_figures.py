from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from reference_impls.kit.figures import comparable, curve_svg, dots_svg, metrics_svg, metrics_text, stack
from reference_impls.kit.results import Curve, Outcome, Result

CURVE = Curve("weights <1>", 1, (-1.0, 0.0, 1.0), (-2.0, 2.0, 2.0), (0.0, 1.0, 0.0))


def outcome(quantity: str) -> Outcome:
    return Outcome("c", "reproduced", quantity, "> 0", 1.0, 0.5, 1.5, "", "")


RESULT = Result(
    "2.13.0",
    (0, 1),
    {"a": (90.0, 92.0), "b": (80.0, 82.0), "c": (85.0, 85.0), "n": (7.0, 7.0)},
    (outcome("a - b"), outcome("c - b"), outcome("n == 7")),
    (CURVE,),
)


def points(svg: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'<polyline points="([^"]+)"', svg)
    return [[(float(x), float(y)) for x, y in (p.split(",") for p in line.split())] for line in lines]


def test_curve_is_well_formed_titled_and_to_scale() -> None:
    svg = curve_svg(CURVE)
    root = ET.fromstring(svg)  # noqa: S314 (our own text)
    assert root[0].text == "Transfer and gradient curve: weights <1>, 1 bit"
    gradient, value = points(svg)
    assert [x for x, _ in value] == [44.0, 197.0, 350.0]
    heights = [y for _, y in value]
    assert heights[0] > heights[1] == heights[2]  # downwards is up in SVG
    middle = (heights[0] + heights[1]) / 2
    assert gradient[0][1] == gradient[2][1] == middle  # zero lies half-way between -2 and 2
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_a_flat_curve_does_not_divide_by_zero() -> None:
    flat = Curve("x", 2, (1.0, 1.0), (0.0, 0.0), (0.0, 0.0))
    assert len(points(curve_svg(flat))) == 2


def test_metrics_share_one_axis() -> None:
    svg = metrics_svg(RESULT, ["a", "b"], "accuracy")
    ET.fromstring(svg)  # noqa: S314 (our own text)
    centres = [float(x) for x in re.findall(r'cx="([\d.]+)"', svg)]
    assert (min(centres), max(centres)) == (190.0, 520.0)
    assert len(centres) == 4


def test_text_plot_marks_means_on_the_common_axis() -> None:
    lines = metrics_text(RESULT, ["a", "b"], width=13).splitlines()
    assert lines[0] == "a  [          .|.]  91 ± 1.4"
    assert lines[1] == "b  [.|.          ]  81 ± 1.4"


def test_comparable_groups_what_claims_compare() -> None:
    assert comparable(RESULT) == [["a", "b", "c"]]


def test_stack_puts_figures_below_each_other() -> None:
    svg = stack([curve_svg(CURVE), metrics_svg(RESULT, ["a"], "t")], "both")
    root = ET.fromstring(svg)  # noqa: S314 (our own text)
    assert [child.get("y") for child in root[1:]] == ["0", "232"]
    assert root.get("width") == "580"


def test_dots_have_any_label() -> None:
    svg = dots_svg({"<b>": (1.0, 3.0), "two": (2.0,)}, "a & b")
    assert svg.count("<circle") == 3
    assert "&lt;b&gt;" in svg
    assert "<title>a &amp; b</title>" in svg
    assert 'cx="190.0"' in svg  # the least value stands at the left end
    assert 'cx="520.0"' in svg
    assert 'cx="355.0"' in svg  # and 2 in the middle
