"""Small figures as SVG text, without any drawing library: curves of quantizers and dot plots of metrics.

Colours come from CSS variables with a fallback, so that a page's dark mode carries over; every figure has a title
for screen readers. Nothing here needs torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from html import escape

from reference_impls.kit.results import Curve, Result

WIDTH, HEIGHT, LEFT, BOTTOM = 360, 220, 44, 30
VALUE = "var(--qkb-figure-value, #3f51b5)"
SLOPE = "var(--qkb-figure-slope, #d2691e)"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _svg(width: int, height: int, title: str, body: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" class="qkb-figure" font-family="sans-serif" font-size="11" fill="currentColor">'
    )
    return "".join([head, f"<title>{escape(title)}</title>", *body, "</svg>"])


def _polyline(xs: Sequence[float], ys: Sequence[float], colour: str, dash: str = "") -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    style = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"{style}/>'


def curve_svg(curve: Curve) -> str:
    """Return the transfer curve (solid) and the gradient (dashed) of a quantizer over its input."""
    low_x, high_x = min(curve.x), max(curve.x)
    low_y, high_y = min(*curve.y, *curve.gradient, 0.0), max(*curve.y, *curve.gradient, 0.0)
    span_x, span_y = (high_x - low_x) or 1.0, (high_y - low_y) or 1.0
    top, right = 12, WIDTH - 10
    base = HEIGHT - BOTTOM

    def px(x: float) -> float:
        return LEFT + (x - low_x) / span_x * (right - LEFT)

    def py(y: float) -> float:
        return base - (y - low_y) / span_y * (base - top)

    body = [
        f'<g stroke="currentColor" stroke-opacity=".25"><path d="M{LEFT} {py(0):.1f}H{right}"/>'
        + (f'<path d="M{px(0):.1f} {top}V{base}"/>' if low_x < 0 < high_x else "")
        + "</g>",
        _polyline([px(x) for x in curve.x], [py(g) for g in curve.gradient], SLOPE, "4 3"),
        _polyline([px(x) for x in curve.x], [py(y) for y in curve.y], VALUE),
    ]
    for x, anchor in ((low_x, "start"), (high_x, "end")):
        body.append(f'<text x="{px(x):.1f}" y="{base + 14}" text-anchor="{anchor}">{_number(x)}</text>')
    body += [f'<text x="{LEFT - 6}" y="{py(y) + 4:.1f}" text-anchor="end">{_number(y)}</text>' for y in (low_y, high_y)]
    middle = (LEFT + right) // 2
    body.append(f'<text x="{middle - 8}" y="{base + 26}" text-anchor="end" fill="{VALUE}">value</text>')
    body.append(f'<text x="{middle + 8}" y="{base + 26}" fill="{SLOPE}">gradient (dashed)</text>')
    bits = f"{curve.bits} bit" + ("s" if curve.bits > 1 else "")
    return _svg(WIDTH, HEIGHT, f"Transfer and gradient curve: {curve.name}, {bits}", body)


def metrics_svg(result: Result, keys: Sequence[str], title: str) -> str:
    """Return a dot plot of a result's metrics.

    Args:
        result: the measurements.
        keys: which metrics, in order; they share one axis, so they should share a unit.
        title: for screen readers.
    """
    return dots_svg({key: result.metrics[key] for key in keys}, title)


def dots_svg(rows: Mapping[str, Sequence[float]], title: str) -> str:
    """Return a dot plot: a row per label with every seed as a dot and the mean as a bar.

    Args:
        rows: values by label, in order; they share one axis.
        title: for screen readers.
    """
    row, label_width, right = 22, 190, 520
    values = [value for row_values in rows.values() for value in row_values]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    body = []
    for index, (label, row_values) in enumerate(rows.items()):
        y = 14 + index * row
        body.append(f'<text x="{label_width - 8}" y="{y + 4}" text-anchor="end">{escape(label)}</text>')
        for value in row_values:
            x = label_width + (value - low) / span * (right - label_width)
            body.append(f'<circle cx="{x:.1f}" cy="{y}" r="3.2" fill="{VALUE}" fill-opacity=".4"/>')
        mean = statistics.fmean(row_values)
        x = label_width + (mean - low) / span * (right - label_width)
        body.append(f'<path d="M{x:.1f} {y - 8}V{y + 8}" stroke="{SLOPE}" stroke-width="2"/>')
        body.append(f'<text x="{right + 10}" y="{y + 4}">{_number(mean)}</text>')
    height = 14 + len(rows) * row + 12
    body.append(f'<text x="{label_width}" y="{height - 6}">{_number(low)}</text>')
    body.append(f'<text x="{right}" y="{height - 6}" text-anchor="end">{_number(high)}</text>')
    return _svg(580, height, title, body)


def metrics_text(result: Result, keys: Sequence[str], width: int = 44) -> str:
    """Return the dot plot for a terminal: `.` a seed, `:` several, `|` the mean.

    The rows share one axis from the least to the greatest value shown.
    """
    values = [value for key in keys for value in result.metrics[key]]
    low, span = min(values), (max(values) - min(values)) or 1.0
    label = max(len(key) for key in keys)

    def column(value: float) -> int:
        return min(width - 1, int((value - low) / span * width))

    lines = []
    for key in keys:
        cells = [" "] * width
        for value in result.metrics[key]:
            cells[column(value)] = "." if cells[column(value)] == " " else ":"
        mean = result.mean(key)
        cells[column(mean)] = "|"
        lines.append(f"{key:<{label}}  [{''.join(cells)}]  {mean:.4g} ± {result.spread(key):.2g}")
    return "\n".join(lines)


def comparable(result: Result) -> list[list[str]]:
    """Group the metrics that claims compare with each other: each group shares an axis.

    Metrics that no claim compares are left out of figures (they stay in tables).
    """
    groups: list[list[str]] = []
    for outcome in result.claims:
        sides = [part for part in outcome.quantity.replace(" - ", " ").split() if part in result.metrics]
        hit = next((group for group in groups if set(group) & set(sides)), None)
        if hit is None:
            groups.append(sides)
        else:
            hit += [side for side in sides if side not in hit]
    return [group for group in groups if len(group) > 1]


def stack(figures: Sequence[str], title: str) -> str:
    """Return one SVG with the given SVG figures one below the other."""
    body, y, width = [], 0, 0
    for figure in figures:
        box = figure.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split()
        body.append(figure.replace("<svg ", f'<svg y="{y}" ', 1))
        width, y = max(width, int(box[0])), y + int(box[1]) + 12
    return _svg(max(width, 1), max(y, 1), title, body)
