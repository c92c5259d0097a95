"""The hardware half of `qkb run`: `--target fpga`."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkb.commands.run import find_record
from qkb.errors import UsageError
from qkb.implementations import WANTED, CannotRunError, Methods
from qkb.paths import Place, locate

if TYPE_CHECKING:
    import argparse

    from reference_impls.fpga.results import Hardware

HINT = "install what the hardware needs: pip install 'qkb[impls,fpga]' (in a checkout: make test)"


@dataclass(frozen=True)
class Wish:
    """What the user asks of the hardware; see the options of `qkb run`.

    Attributes:
        network: "mlp" or "cnn".
        seed: of the training.
        interval: cycles an image may take; None for the network's own.
        pe: output lanes of the hidden layer; None for what the interval asks.
        simd: input lanes of the hidden layer; None for what the interval asks.
        backend: "verilator" or "pysim"; None for the fastest that is installed.
        images: test images to simulate; None for all.
        route: place and route.
        verilog: folder for the Verilog; None for none.
        vcd: file for the waveform of two images; None for none.
    """

    network: str = "mlp"
    seed: int = 0
    interval: int | None = None
    pe: int | None = None
    simd: int | None = None
    backend: str | None = None
    images: int | None = None
    route: bool = True
    verilog: Path | None = None
    vcd: Path | None = None


def run(record_id: str, wish: Wish, *, place: Place, progress: bool = False) -> Hardware:
    """Train, lower, simulate and synthesise a record's method.

    Args:
        record_id: id of the record.
        wish: what the user asks.
        place: the library.
        progress: say on standard error what is being done.

    Raises:
        UsageError: if there is no such record or a number cannot be.
        CannotRunError: if it has no implementation or no integers, or a package or tool is missing or fails.
    """
    record = find_record(place, record_id)
    if record.implementation == WANTED:
        raise CannotRunError(f"{record_id} has no implementation yet; CONTRIBUTING.md says how to add one")
    _check(wish)
    Methods.of(place)
    try:
        target, lowering, network, tools = (_part(name) for name in ("target", "lower", "network", "tools"))
        simulation = _part("simulate")
        method = importlib.import_module("reference_impls.kit.catalogue").load(record.implementation)
    except (ImportError, LookupError) as error:
        raise CannotRunError(f"{record.implementation} cannot be imported ({error}); {HINT}") from error
    folding = lowering.Folding(wish.interval or target.INTERVALS[wish.network], wish.pe, wish.simd)
    say = (lambda text: print(f"{record_id}: {text}", file=sys.stderr, flush=True)) if progress else (lambda _: None)
    try:
        made, measured = target.measure(
            method,
            wish.network,
            seed=wish.seed,
            folding=folding,
            backend=wish.backend,
            images=wish.images,
            route=wish.route,
            progress=say,
        )
        if wish.verilog is not None:
            target.save_verilog(made, wish.verilog, record_id)
        if wish.vcd is not None:
            target.save_waveform(made, wish.vcd)
    except (network.CannotLowerError, tools.MissingToolError, tools.ToolError, simulation.SimulationError) as error:
        raise CannotRunError(str(error)) from error
    except ValueError as error:  # a folding that does not divide the layer
        raise UsageError(str(error)) from error
    return measured  # type: ignore[no-any-return]


def _check(wish: Wish) -> None:
    """Raise UsageError for a number that cannot be."""
    for name in ("interval", "pe", "simd"):
        if getattr(wish, name) is not None and getattr(wish, name) < 1:
            raise UsageError(f"--{name} must be at least 1")
    if wish.images is not None and wish.images < 2:
        raise UsageError("--images must be at least 2: the interval is the time from one image to the next")


def _part(name: str) -> Any:
    return importlib.import_module(f"reference_impls.fpga.{name}")


def wish_of(args: argparse.Namespace) -> Wish:
    """Return what the command line asks.

    Raises:
        UsageError: for options that have no meaning here.
    """
    if args.figure:
        raise UsageError("--figure is for the measurements on the CPU: leave --target fpga out")
    seeds = args.seed or [0]
    if len(seeds) > 1:
        raise UsageError("--target fpga makes one design: give --seed once")
    return Wish(
        network=args.network or "mlp",
        seed=seeds[0],
        interval=args.interval,
        pe=args.pe,
        simd=args.simd,
        backend=args.backend,
        images=args.images,
        route=not args.no_route,
        verilog=Path(args.verilog) if args.verilog else None,
        vcd=Path(args.vcd) if args.vcd else None,
    )


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    place = locate(args.root)
    try:
        measured = run(args.id, wish_of(args), place=place, progress=not args.quiet and sys.stderr.isatty())
    except CannotRunError as error:
        print(f"qkb run: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"qkb run: the design cannot be written: {error}", file=sys.stderr)
        return 2
    from reference_impls.fpga import report, results  # noqa: PLC0415

    if args.json:
        print(results.to_json(measured), end="")
    else:
        record = find_record(place, args.id)
        print(f"{record.title} ({record.venue} {record.year})\n")
        print(report.report(measured))
    if not measured.exact:
        print(f"qkb run: hardware and torch differ on {measured.differences} images, or the cycles do", file=sys.stderr)
    return 0 if measured.exact else 1
