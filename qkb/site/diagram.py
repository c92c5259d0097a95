"""The block diagram of a pipeline as SVG text: a box per unit, in rows, with a bar for how busy the unit is."""

from __future__ import annotations

import textwrap
from html import escape
from typing import TYPE_CHECKING

from reference_impls.kit.figures import SLOPE, VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reference_impls.fpga.results import Unit

_WIDTH, _LETTERS, _LINES = 158, 24, 3  # of a box: pixels, letters in a line, lines
_TIE = "\N{NO-BREAK SPACE}"
_LINE, _GAP, _EDGE = 14, 26, 4
_HEIGHT = 12 + _LINE * (_LINES + 1) + 10


def diagram_svg(units: Sequence[Unit], columns: int) -> str:
    """Return a pipeline from the first unit to the last.

    Args:
        units: in the order of the data.
        columns: boxes in a row.
    """
    slowest = max(unit.interval for unit in units)
    across, down = min(columns, len(units)), -(-len(units) // columns)
    width = across * (_WIDTH + _GAP) - _GAP + 2 * _EDGE
    height = down * (_HEIGHT + _GAP) - _GAP + 2 * _EDGE
    said = "; ".join(f"{unit.label}: {unit.interval} cycles" for unit in units)
    body = [
        f"<title>Block diagram of the pipeline</title><desc>{escape(said)}</desc>",
        *(part for index, unit in enumerate(units) for part in _box(unit, *_corner(index, columns), slowest)),
        *(_arrow(index, columns) for index in range(len(units) - 1)),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="sans-serif" font-size="11.5" fill="currentColor">'
    )
    return "".join([head, *body, "</svg>"])


def _corner(index: int, columns: int) -> tuple[int, int]:
    """Return the upper left corner of a box."""
    row, column = divmod(index, columns)
    return _EDGE + column * (_WIDTH + _GAP), _EDGE + row * (_HEIGHT + _GAP)


def lines_of(label: str) -> list[str]:
    """Return a unit's label in the lines of its box, broken after commas where there are any.

    >>> lines_of("matrix-vector 32 x 64, PE 4, SIMD 4, multiply, 8-bit weights")
    ['matrix-vector 32 x 64,', 'PE 4, SIMD 4, multiply,', '8-bit weights']
    >>> lines_of("max-pool 2 x 2 of 4 x 4 x 8 (4 lanes)")
    ['max-pool 2 x 2 of', '4 x 4 x 8 (4 lanes)']
    """
    tied = label.replace(" x ", f"{_TIE}x{_TIE}").replace("PE ", f"PE{_TIE}").replace(" lanes", f"{_TIE}lanes")
    lines: list[str] = []
    for part in tied.split(", "):
        if lines and len(lines[-1]) + len(part) + 3 <= _LETTERS:
            lines[-1] += f", {part}"
            continue
        if lines:
            lines[-1] += ","
        lines += textwrap.wrap(part, _LETTERS)
    whole = lines[:_LINES]
    if len(lines) > _LINES:
        whole[-1] = textwrap.shorten(" ".join(lines[_LINES - 1 :]), _LETTERS, placeholder=" …")
    return [line.replace(_TIE, " ") for line in whole]


def _box(unit: Unit, x: int, y: int, slowest: int) -> Iterator[str]:
    """Draw a unit; those that multiply stand out, and the bar is full for the slowest one."""
    colour = VALUE if unit.label.startswith("matrix-vector") else "currentColor"
    yield (
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" fill="{colour}" fill-opacity=".07" '
        f'stroke="{colour}" stroke-opacity=".6"/>'
    )
    for index, line in enumerate(lines_of(unit.label)):
        yield f'<text x="{x + 8}" y="{y + 18 + _LINE * index}">{escape(line)}</text>'
    base = y + _HEIGHT - 14
    yield f'<text x="{x + 8}" y="{base}" fill-opacity=".75">{_cycles(unit.interval)}</text>'
    full = _WIDTH - 16
    yield f'<rect x="{x + 8}" y="{base + 5}" width="{full}" height="3" fill-opacity=".13"/>'
    yield (
        f'<rect x="{x + 8}" y="{base + 5}" width="{max(1, full * unit.interval / slowest):.4g}" height="3" '
        f'fill="{SLOPE}"/>'
    )


def _cycles(count: int) -> str:
    return "1 cycle" if count == 1 else f"{count:,} cycles"


def _arrow(index: int, columns: int) -> str:
    """Draw what leads from one unit to the next: to the right, or round to the row below."""
    x, y = _corner(index, columns)
    to_x, to_y = _corner(index + 1, columns)
    if to_y == y:
        middle = y + _HEIGHT // 2
        path, head = f"M{x + _WIDTH} {middle}H{to_x - 5}", f"M{to_x} {middle}l-7-4v8z"
    else:
        turn, middle = y + _HEIGHT + _GAP // 2, x + _WIDTH // 2
        into = to_x + _WIDTH // 2
        path = f"M{middle} {y + _HEIGHT}V{turn}H{into}V{to_y - 5}"
        head = f"M{into} {to_y}l-4-7h8z"
    return f'<path d="{path}" fill="none" stroke="currentColor"/><path d="{head}"/>'
