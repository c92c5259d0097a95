r"""Show what happens on the wires: a VCD file of every signal, and a small picture of the two streams.

Both come from one run of Amaranth's simulator over the first frames: `waveform` writes the file and returns what the
streams did, `draw` makes an SVG picture of that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

from reference_impls.fpga import tools
from reference_impls.fpga.bench import Cycle, pysim, stimulus
from reference_impls.fpga.ports import IntArray, Port, Stage

_DATE = re.compile(r"\$date.*?\$end\s*", re.DOTALL)
_CELL, _ROW, _LEFT, _TOP = 28, 26, 124, 22  # pixels
_LETTER = 6.6  # pixels of a letter of the values


def waveform(
    stage: Stage, frames: IntArray, path: Path | None = None, *, most: int = 2, stall: float = 0.0, seed: int = 0
) -> list[Cycle]:
    """Simulate the first frames and write their waveform.

    Args:
        stage: the unit or pipeline.
        frames: (frames, input elements).
        path: the VCD file; None for none.
        most: frames to simulate; a file of many grows beyond what a viewer likes.
        stall: how likely source and sink stall, as in `simulate`.
        seed: of the stalls.

    Returns:
        The two streams, cycle by cycle, until the last beat has come out.
    """
    trace: list[Cycle] = []
    drive = stimulus(stage, frames[:most], stall=stall, seed=seed)
    if path is None:
        moves = pysim(stage, drive, trace=trace)
    else:
        with tools.scratch() as work:
            moves = pysim(stage, drive, vcd=work / "all.vcd", trace=trace)
            text = _settled((work / "all.vcd").read_text())
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.write_text(text)
        new.replace(path)
    return trace[: int(moves.emitted[-1]) + 1]


def _settled(vcd: str) -> str:
    """Return a waveform without its date and with the last value of each signal at each time, in one order.

    So the same run gives the same file, which the simulator, with its sets of signals to update, does not.
    """
    head, mark, body = _DATE.sub("", vcd, count=1).partition("$enddefinitions $end\n")
    parts = [head, mark]
    changes: dict[str, str] = {}
    for line in [*body.splitlines(), "#"]:
        if line.startswith(("#", "$")):
            parts += [f"{changes[signal]}\n" for signal in sorted(changes)]
            changes.clear()
            parts.append(f"{line}\n")
        else:
            signal = line.partition(" ")[2] if line[0] in "bs" else line[1:]
            changes[signal] = line
    return "".join(parts[:-1])


def draw(stage: Stage, trace: Sequence[Cycle], *, most: int = 32) -> str:
    """Return an SVG picture of clock, valid, ready and data on both sides.

    A beat moves in the cycle in which it is filled. Data without valid is left out: it means nothing. Colours follow
    the page.

    Args:
        stage: what was simulated.
        trace: from `waveform`.
        most: cycles to show: the first, and from a gap on those around the first output.
    """
    shown = _window(trace, most)
    width, height = _LEFT + _CELL * len(shown) + 8, _TOP + _ROW * 7 + 6
    sides = (
        ("s_axis", stage.input, [(at.input_valid, at.input_ready, at.input_payload) for at in trace]),
        ("m_axis", stage.output, [(at.output_valid, at.output_ready, at.output_payload) for at in trace]),
    )
    title = f"{stage.label}: the streams in and out, clock cycles {shown[0]} to {shown[-1]}"
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}',
        f'role="img" font-family="monospace" font-size="11" fill="currentColor"><title>{escape(title)}</title>',
        *(
            f'<text x="{_x(column) + _CELL / 2:g}" y="13" text-anchor="middle" opacity=".6">{cycle}</text>'
            for column, cycle in enumerate(shown)
        ),
        _name(0, "clk"),
        _line(0, [bit for _ in shown for bit in (1, 0)], _CELL / 2),
    ]
    for side, (name, port, states) in enumerate(sides):
        row = 1 + 3 * side
        parts += [_name(row, f"{name}_tvalid"), _line(row, [states[cycle][0] for cycle in shown], _CELL)]
        parts += [_name(row + 1, f"{name}_tready"), _line(row + 1, [states[cycle][1] for cycle in shown], _CELL)]
        parts += [_name(row + 2, f"{name}_tdata"), *_data(row + 2, port, states, shown)]
    for column, (before, after) in enumerate(pairwise(shown), start=1):
        if after != before + 1:
            parts.append(
                f'<path d="M{_x(column)} {_TOP - 4}V{height}" stroke="currentColor" stroke-width="3" '
                f'stroke-dasharray="2 4" opacity=".5"><title>cycles {before + 1} to {after - 1} left out</title></path>'
            )
    return "\n".join([*parts, "</svg>\n"])


def _window(trace: Sequence[Cycle], most: int) -> list[int]:
    """Return the cycles to show: all, or the first and those around the first output."""
    if len(trace) <= most:
        return list(range(len(trace)))
    first = next((cycle for cycle, at in enumerate(trace) if at.output_valid), 0)
    start = min(max(first - 3, most // 2), len(trace) - most // 2)
    return [*range(most // 2), *range(start, start + most // 2)]


@dataclass(frozen=True)
class _Beat:
    """One beat as it stands: its payload, its columns, and whether it moves in the last of them."""

    payload: int
    first: int
    last: int
    moved: bool


def _beats(states: Sequence[tuple[int, int, int]], shown: Sequence[int]) -> list[_Beat]:
    """Join the cycles in which one beat stands waiting."""
    beats: list[_Beat] = []
    waiting = False
    for column, cycle in enumerate(shown):
        valid, ready, payload = states[cycle]
        gap = column > 0 and cycle != shown[column - 1] + 1
        if valid:
            first = beats.pop().first if waiting and not gap else column
            beats.append(_Beat(payload, first, column, bool(ready)))
        waiting = bool(valid and not ready)
    return beats


def _data(row: int, port: Port, states: Sequence[tuple[int, int, int]], shown: Sequence[int]) -> list[str]:
    """Draw the beats of a stream: hexadecimal, its last digits only where there is no room."""
    top, bottom = _TOP + _ROW * row + 5, _TOP + _ROW * (row + 1) - 3
    middle = (top + bottom) / 2
    parts = []
    for beat in _beats(states, shown):
        left, right = _x(beat.first), _x(beat.last + 1)
        text = f"{beat.payload:0{-(-port.bits // 4)}x}"
        room = int((right - left - 6) / _LETTER)
        text = text if len(text) <= room else "…" + text[1 - room :]
        whole = f"{beat.payload:#x}" + (", moves" if beat.moved else ", waits")
        end = f"H{right - 4}l4 {middle - top:g}l-4 {bottom - middle:g}"
        outline = f"M{left} {middle:g}l4 {top - middle:g}{end}H{left + 4}z"
        parts.append(f'<g><title>{whole}</title><path d="{outline}" fill="none" stroke="currentColor"/>')
        if beat.moved:
            cell = outline if beat.first == beat.last else f"M{right - _CELL} {top}{end}H{right - _CELL}z"
            parts.append(f'<path d="{cell}" fill-opacity=".2"/>')
        parts.append(f'<text x="{(left + right) / 2:g}" y="{bottom - 5}" text-anchor="middle">{text}</text></g>')
    return parts


def _x(column: int) -> int:
    """Return the left edge of a column."""
    return _LEFT + _CELL * column


def _name(row: int, name: str) -> str:
    """Draw the name of a row."""
    return f'<text x="{_LEFT - 8}" y="{_TOP + _ROW * (row + 1) - 8}" text-anchor="end">{name}</text>'


def _line(row: int, bits: Sequence[int], step: float) -> str:
    """Draw a signal of one bit."""
    y = [_TOP + _ROW * (row + 1) - 3, _TOP + _ROW * row + 5]
    path = f"M{_LEFT} {y[bool(bits[0])]}" + "".join(
        f"V{y[bool(bit)]}H{_LEFT + step * (index + 1):g}" for index, bit in enumerate(bits)
    )
    return f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
