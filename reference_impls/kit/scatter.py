"""Scatter plots as SVG text, without any drawing library: labelled points that lead to pages, with ticks on both axes.

Colours come from CSS variables with a fallback, as in `reference_impls.kit.figures`. Each point is a link with a text
that says what it shows, so the plot can be read with the keyboard and aloud. Nothing here needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from reference_impls.kit.figures import SLOPE, VALUE

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 30, 44
LOG_SPAN = 8  # an axis whose values span more than this factor is logarithmic
LETTER, LINE, RADIUS = 5.7, 11, 4.5  # of a label, and of a mark
_MARKS = (  # colour and outline of each kind of point, in turn
    (VALUE, "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z"),
    (SLOPE, "M0-5.2L5 3.6H-5z"),
    ("currentColor", "M-3.6-3.6H3.6V3.6H-3.6z"),
    (VALUE, "M0-5L5 0L0 5L-5 0z"),
    (SLOPE, "M-5-3.6H5L0 5.2z"),
)


@dataclass(frozen=True)
class Point:
    """One point.

    Attributes:
        label: written beside it.
        x: its place.
        y: its height.
        kind: points of a kind share mark and colour, and the kinds are named above the plot.
        href: where a click on it leads; nowhere if empty.
        about: what it shows, in words, for screen readers and as a hint.
    """

    label: str
    x: float
    y: float
    kind: str = ""
    href: str = ""
    about: str = ""


@dataclass(frozen=True)
class Box:
    """A rectangle that is taken."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Return the area that two boxes share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0) * max(height, 0)


@dataclass(frozen=True)
class Scale:
    """One axis: values from low to high at pixels from start to end."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float, *, wide: bool = True) -> Scale:
        """Return the axis that holds all values with some room; logarithmic where they span a wide range.

        Args:
            values: what must fit.
            start: pixel of the low end.
            end: pixel of the high end.
            wide: whether the axis may be logarithmic.
        """
        low, high = min(values), max(values)
        if wide and low > 0 and high / low > LOG_SPAN:
            room = (high / low) ** 0.06
            return cls(low / room, high * room, start, end, logarithmic=True)
        room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        return cls(low - room, high + room, start, end)

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round values on the axis, about four to eight."""
        if not self.logarithmic:
            step = 10.0 ** math.floor(math.log10((self.high - self.low) / 3))
            step *= next((factor for factor in (5, 2) if (self.high - self.low) / (factor * step) >= 3), 1)
            first = math.ceil(self.low / step)
            return [round(i * step, 12) for i in range(first, math.floor(self.high / step) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1,), (1, 3), (1, 2, 5)):
            found = [digit * 10.0**power for power in decades for digit in digits]
            found = [value for value in found if self.low <= value <= self.high]
            if len(found) >= 4:
                break
        return found


def number(value: float) -> str:
    """Return a tick's text.

    >>> number(2500), number(40e3), number(1.5e6), number(0.5), number(95.0)
    ('2,500', '40 k', '1.5 M', '0.5', '95')
    """
    for size, letter in ((1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e6 if size == 1e6 else 1e3):.4g}{letter}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def scatter_svg(points: Sequence[Point], x: str, y: str, title: str) -> str:
    """Return a scatter plot; each axis is linear, the x axis logarithmic where its values span a wide range.

    Args:
        points: at least one.
        x: what the x axis shows.
        y: what the y axis shows.
        title: for screen readers.
    """
    across = Scale.around([point.x for point in points], LEFT, WIDTH - RIGHT)
    up = Scale.around([point.y for point in points], HEIGHT - BOTTOM, TOP, wide=False)
    kinds = list(dict.fromkeys(point.kind for point in points))
    body = [*_axes(across, up, x, y), *_legend(kinds)]
    places = [(across.at(point.x), up.at(point.y)) for point in points]
    labels = place_labels([point.label for point in points], places)
    for point, place, label in zip(points, places, labels, strict=True):
        body.append(_drawn(point, place, label, _MARKS[kinds.index(point.kind) % len(_MARKS)]))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="group" class="qkb-figure" font-family="sans-serif" font-size="11" fill="currentColor" '
        f'aria-label="{escape(title)}">'
    )
    return "".join([head, *body, "</svg>"])


def _axes(across: Scale, up: Scale, x: str, y: str) -> Iterator[str]:
    """Draw the grid, the ticks and the names of the axes."""
    base, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    lines = [f"M{across.at(tick):.1f} {TOP}V{base}" for tick in across.ticks()]
    lines += [f"M{LEFT} {up.at(tick):.1f}H{right}" for tick in up.ticks()]
    yield f'<path d="{"".join(lines)}" stroke="currentColor" stroke-opacity=".13" fill="none"/>'
    yield f'<path d="M{LEFT} {TOP}V{base}H{right}" stroke="currentColor" stroke-opacity=".5" fill="none"/>'
    for tick in across.ticks():
        yield f'<text x="{across.at(tick):.1f}" y="{base + 16}" text-anchor="middle">{number(tick)}</text>'
    for tick in up.ticks():
        yield f'<text x="{LEFT - 6}" y="{up.at(tick) + 4:.1f}" text-anchor="end">{number(tick)}</text>'
    name = f"{x} (logarithmic)" if across.logarithmic else x
    yield f'<text x="{(LEFT + right) / 2:g}" y="{HEIGHT - 8}" text-anchor="middle">{escape(name)}</text>'
    yield f'<text transform="translate(12 {(TOP + base) / 2:g}) rotate(-90)" text-anchor="middle">{escape(y)}</text>'


def _legend(kinds: Sequence[str]) -> Iterator[str]:
    """Name the kinds of points, where there are several."""
    x = float(LEFT)
    for index, kind in enumerate(kinds if len(kinds) > 1 else ()):
        colour, outline = _MARKS[index % len(_MARKS)]
        yield f'<path transform="translate({x + 6:g} 12)" d="{outline}" fill="{colour}"/>'
        yield f'<text x="{x + 15:g}" y="16">{escape(kind)}</text>'
        x += 32 + 6.2 * len(kind)


@dataclass(frozen=True)
class Label:
    """Where a label stands: its box, and whether it is so far from its point that a line has to join them."""

    box: Box
    joined: bool


def place_labels(texts: Sequence[str], places: Sequence[tuple[float, float]]) -> list[Label]:
    """Find a place for each label near its point, off the other points and labels as far as there is room.

    The labels are set one after the other, those in a crowd last. Each takes the nearest free place on growing rings
    around its point, or, where none is free, the one that covers least.
    """
    marks = [Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in places]
    crowd = [sum(math.dist(a, b) < 40 for b in places) for a in places]
    found: dict[int, Label] = {}
    for index in sorted(range(len(texts)), key=lambda i: (crowd[i], i)):
        taken = [*marks, *(label.box for label in found.values())]
        best, least = None, math.inf
        for label in _candidates(texts[index], places[index]):
            covered = sum(label.box.overlap(box) for box in taken)
            if covered < least:
                best, least = label, covered
            if not covered:
                break
        if best is None:
            raise ValueError(f"{texts[index]!r} is wider than the plot")
        found[index] = best
    return [found[index] for index in range(len(texts))]


def _candidates(text: str, place: tuple[float, float]) -> Iterator[Label]:
    """Yield the places for a label inside the plot, the best first: beside the point, then on rings around it."""
    x, y = place
    width = LETTER * len(text) + 2
    for gap in (RADIUS + 2, 14, 24, 36, 50, 66, 84, 104):
        for degrees in (0, 180, 90, 270, 30, 330, 150, 210, 60, 300, 120, 240):
            across, down = math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))
            middle_x = x + across * (gap + width / 2) if abs(across) > 0.1 else x
            middle_y = y + down * (gap + LINE / 2)
            box = Box(middle_x - width / 2, middle_y - LINE / 2, middle_x + width / 2, middle_y + LINE / 2)
            inside = box.left >= LEFT + 2 and box.right <= WIDTH - 2 and box.top >= TOP - 8
            if inside and box.bottom <= HEIGHT - BOTTOM - 2:
                yield Label(box, gap > RADIUS + 2)


def _drawn(point: Point, place: tuple[float, float], label: Label, mark: tuple[str, str]) -> str:
    """Draw a point with its label, as a link if it leads somewhere."""
    x, y = place
    box, (colour, outline) = label.box, mark
    parts = [f"<title>{escape(point.about or point.label)}</title>"]
    if label.joined:
        near_x, near_y = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
        parts.append(f'<path d="M{x:.1f} {y:.1f}L{near_x:.1f} {near_y:.1f}" stroke="{colour}" stroke-opacity=".55"/>')
    parts.append(f'<path transform="translate({x:.1f} {y:.1f})" d="{outline}" fill="{colour}" fill-opacity=".85"/>')
    middle, base = (box.left + box.right) / 2, box.bottom - 2
    parts.append(
        f'<text x="{middle:.1f}" y="{base:.1f}" text-anchor="middle" font-size="10">{escape(point.label)}</text>'
    )
    inside = "".join(parts)
    return f'<a href="{escape(point.href)}">{inside}</a>' if point.href else f"<g>{inside}</g>"
