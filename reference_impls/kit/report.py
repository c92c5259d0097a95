"""What a run prints: the table *the paper says / we measured*, the metrics and a figure in characters."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TextIO

from reference_impls.kit.figures import comparable, metrics_text
from reference_impls.kit.results import Outcome, Result, shown


def measured(outcome: Outcome) -> str:
    """Say what was measured for a claim, with its interval and its bound.

    >>> row = Outcome("x", "reproduced", "new - old", "> 0", 2.5, 1.9, 3.1, "points", "")
    >>> measured(row)
    'new - old = 2.5 points, 95 % interval 1.9 to 3.1 (claim: > 0)'
    """
    unit = f" {outcome.unit}" if outcome.unit else ""
    spread = "" if outcome.low == outcome.high else f"{outcome.low:.3g} to {outcome.high:.3g}"
    if outcome.exact:
        tail = f", {spread} over seeds" if spread else " on every seed"
        return f"{outcome.quantity}: {shown(outcome.estimate)}{unit}{tail} (claim: {outcome.bound})"
    tail = f", 95 % interval {spread}" if spread else ", the same on every seed"
    return f"{outcome.quantity} = {outcome.estimate:.3g}{unit}{tail} (claim: {outcome.bound})"


def table(rows: Sequence[Sequence[str]], heads: Sequence[str], width: int | None = None) -> str:
    """Return a plain text table whose cells wrap to share the width of the terminal."""
    total = width or max(60, min(160, shutil.get_terminal_size((100, 24)).columns))
    natural = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    room = total - 3 * (len(heads) - 1)
    widths = list(natural)
    while sum(widths) > room and max(widths) > 12:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in [heads, ["-" * w for w in widths], *rows]:
        cells = [textwrap.wrap(cell, w) or [""] for cell, w in zip(row, widths, strict=True)]
        for i in range(max(map(len, cells))):
            parts = [(c[i] if i < len(c) else "").ljust(w) for c, w in zip(cells, widths, strict=True)]
            lines.append("   ".join(parts).rstrip())
    return "\n".join(lines)


def report(result: Result, says: Mapping[str, str], width: int | None = None) -> str:
    """Return the whole report of a run.

    Args:
        result: the measurements.
        says: what the paper says, by claim id; a claim without an entry shows its id.
        width: columns; the terminal's when not given.
    """
    parts = []
    if result.claims:
        rows = [[says.get(row.id, row.id), measured(row), row.verdict] for row in result.claims]
        parts.append(table(rows, ["the paper says", "we measured", "verdict"], width))
        parts += [
            textwrap.fill(f"{row.id}: {row.remark}", width or 100, subsequent_indent="  ")
            for row in result.claims
            if row.remark
        ]
    parts += [metrics_text(result, group) for group in comparable(result)]
    rows = [[key, shown(result.mean(key)), f"{result.spread(key):.3g}"] for key in result.metrics]
    seeds = len(result.seeds)
    parts.append(table(rows, [f"metric ({seeds} seed{'s' if seeds > 1 else ''})", "mean", "sd"], width))
    return "\n\n".join(parts)


class ProgressLine:
    """A progress line on a stream: redrawn in place on a terminal, silent elsewhere."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self.label, self.stream = label, stream or sys.stderr
        self.live = self.stream.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Draw `done` of `total`; the line is wiped when all is done."""
        if not self.live:
            return
        filled = 24 * done // max(total, 1)
        text = f"\r{self.label}  [{'#' * filled}{'.' * (24 - filled)}] seed {done}/{total}"
        self.stream.write(text if done < total else "\r" + " " * len(text) + "\r")
        self.stream.flush()
