r"""The table of designs: what each costs, how fast it is, and what must be known to measure it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from reference_impls.fpga.ports import Stage
from reference_impls.fpga.synthesis import Resources, Timing


class Row(NamedTuple):
    """One line of a table: a design, where it was placed and what that gave."""

    stage: Stage
    resources: Resources
    timing: Timing | None = None


class Table(NamedTuple):
    """A table for people, `markdown`, and for programs, `data`."""

    markdown: str
    data: list[dict[str, Any]]


_COLUMNS: Mapping[str, str] = {
    "design": "design",
    "target": "target",
    "interval": "cycles a frame",
    "latency": "latency",
    "lut": "LUT",
    "ff": "FF",
    "carry": "carry",
    "lutram": "LUT RAM",
    "bram": "BRAM",
    "dsp": "DSP",
    "logic": "LUT positions",
    "fmax": "MHz",
    "frames_per_second": "frames/s",
}


def resource_table(rows: Sequence[Row]) -> Table:
    """Set designs side by side; below stand device, tools, seeds and constraint."""
    data = [_record(row) for row in rows]
    lines = ["| " + " | ".join(_COLUMNS.values()) + " |", "|" + " --- |" * 2 + " ---: |" * (len(_COLUMNS) - 2)]
    lines += ["| " + " | ".join(_cell(record[key]) for key in _COLUMNS) + " |" for record in data]
    return Table("\n".join([*lines, "", *_notes(rows)]) + "\n", data)


def _record(row: Row) -> dict[str, Any]:
    """Return a row as plain data."""
    stage, resources, timing = row
    fmax = timing.fmax if timing else None
    return {
        "design": stage.label,
        "target": resources.target,
        "interval": stage.interval,
        "latency": stage.latency,
        **{key: getattr(resources, key) for key in ("lut", "ff", "carry", "lutram", "bram", "dsp", "logic")},
        "cells": dict(resources.cells),
        "fmax": fmax,
        "fmax_of_seeds": list(timing.every) if timing else [],
        "frames_per_second": None if fmax is None else fmax * 1e6 / stage.interval,
        "seeds": list(timing.seeds) if timing else [],
        "constraint_mhz": timing.freq if timing else None,
        "device": timing.device if timing else None,
        "utilisation": {cell: list(pair) for cell, pair in timing.utilisation.items()} if timing else {},
        "versions": {**resources.versions, **(timing.versions if timing else {})},
    }


def _cell(value: float | str | None) -> str:
    """Return a cell of the table; nothing for what was not measured."""
    if isinstance(value, float):
        return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value).replace("|", "\\|")


def _notes(rows: Sequence[Row]) -> list[str]:
    """Return what must be known to make the table again."""
    notes = []
    versions = {f"{tool} {release}" for row in rows for tool, release in _record(row)["versions"].items()}
    routed = [row.timing for row in rows if row.timing]
    for device, freq, seeds in sorted({(timing.device, timing.freq, timing.seeds) for timing in routed}):
        notes.append(f"MHz: {device}; asked for {freq:g} MHz; median of seeds {', '.join(map(str, seeds))}.")
    if any(row.resources.target == "xc7" for row in rows):
        notes.append("xc7: synthesis estimate, not placed.")
    return [*notes, f"Tools: {', '.join(sorted(versions))}."] if rows else []
