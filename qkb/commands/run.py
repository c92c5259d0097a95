"""Run a record's reference implementation and print what the paper says beside what was measured.

The method runs over all its seeds with one thread. A progress line stands on the terminal meanwhile (on standard
error); then come the claims with their computed verdicts, a figure and the metrics, and whether they agree with the
accepted result. Exit codes: 0 measured, 1 the method cannot be run, 2 wrong usage. A claim that does not reproduce
is a finding, not a failure.

With --target fpga a toy network is trained with the method's quantizers, becomes a pipeline of integer units, and is
simulated clock by clock on the test images; then it is synthesised, placed and routed for an ECP5. Printed are the
accuracy of torch, of the integer model and of the hardware (equal on every image, or the exit code is 1), cycles per
image beside those of the model, latency, cells and clock. Without a C++ compiler Amaranth's own simulator does it.

Examples:
  qkb run xnor-net
  qkb run xnor-net --seed 0 --seed 1
  qkb run twn --json
  qkb run pact --figure pact.svg
  qkb run bnn --target fpga
  qkb run twn --target fpga --network cnn --pe 8 --simd 4 --verilog build/twn --vcd build/twn/twn.vcd
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qkb.errors import UsageError, nearest
from qkb.implementations import WANTED, CannotRunError, Methods
from qkb.paths import Place, locate

if TYPE_CHECKING:
    import argparse

    from qkb.records.model import Record
    from reference_impls.kit.results import Result


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("id", metavar="ID", help="id of a record, as `qkb list records` prints it")
    parser.add_argument("--seed", type=int, action="append", metavar="N", help="run this seed only; may be repeated")
    parser.add_argument("--json", action="store_true", help="print the measurements as JSON, as in the result files")
    parser.add_argument("--figure", metavar="FILE", help="write the figure of the metrics and curves as SVG")
    parser.add_argument("--root", metavar="DIR", help="the library to use (default: found from the current folder)")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument("--target", choices=["cpu", "fpga"], default="cpu", help="where to run it (default: cpu)")
    fpga = parser.add_argument_group("with --target fpga")
    fpga.add_argument("--network", choices=["mlp", "cnn"], help="the toy network (default: mlp)")
    fpga.add_argument("--interval", type=int, metavar="N", help="cycles an image may take (default: 256, cnn 324)")
    fpga.add_argument("--pe", type=int, metavar="N", help="output lanes of the hidden layer, in place of what follows")
    fpga.add_argument("--simd", type=int, metavar="N", help="input lanes of the hidden layer, likewise")
    fpga.add_argument(
        "--backend", choices=["verilator", "pysim"], help="the simulator (default: verilator, if it is there)"
    )
    fpga.add_argument("--images", type=int, metavar="N", help="test images to simulate (default: all)")
    fpga.add_argument("--no-route", action="store_true", help="count cells, but do not place and route")
    fpga.add_argument("--verilog", metavar="DIR", help="write the design's Verilog into this folder")
    fpga.add_argument("--vcd", metavar="FILE", help="write the waveform of two images")


def find_record(place: Place, record_id: str) -> Record:
    """Return a record by id, reading its file alone.

    Raises:
        UsageError: if there is none; names the nearest ones.
        FaultsError: if its file has faults.
    """
    from qkb.records.faults import FaultsError  # noqa: PLC0415 (pydantic is loaded only when a record is read)
    from qkb.records.load import load_record  # noqa: PLC0415

    paths = {path.stem: path for path in place.papers.glob("[0-9]*/*.yaml")}
    if record_id not in paths:
        hint = nearest(record_id, paths) or "See qkb list records."
        raise UsageError(f"there is no record {record_id!r}. {hint}")
    loaded = load_record(paths[record_id], place.root)
    if loaded.record is None:
        raise FaultsError(loaded.faults)
    return loaded.record


def run(record_id: str, *, place: Place, seeds: list[int] | None = None, progress: bool = False) -> Result:
    """Measure a record's implementation.

    Args:
        record_id: id of the record.
        place: the library.
        seeds: other seeds than the method's own.
        progress: draw a progress line on standard error when that is a terminal.

    Raises:
        UsageError: if there is no such record.
        CannotRunError: if it has no implementation yet, or that cannot be imported.
    """
    record = find_record(place, record_id)
    if record.implementation == WANTED:
        raise CannotRunError(f"{record_id} has no implementation yet; CONTRIBUTING.md says how to add one")
    methods = Methods.of(place)
    line = None
    if progress:
        from reference_impls.kit.report import ProgressLine  # noqa: PLC0415

        line = ProgressLine(record_id)
    return methods.measure(record.implementation, seeds, line)


def figure(result: Result, title: str) -> str:
    """Return one SVG: dot plots of the compared metrics, then the quantizers' curves, one below the other."""
    from reference_impls.kit.figures import comparable, curve_svg, metrics_svg, stack  # noqa: PLC0415

    parts = [metrics_svg(result, group, title) for group in comparable(result)]
    return stack(parts + [curve_svg(curve) for curve in result.quantizers], title)


FPGA_ONLY = ("network", "interval", "pe", "simd", "backend", "images", "no_route", "verilog", "vcd")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    if args.target == "fpga":
        from qkb.hardware import run as hardware  # noqa: PLC0415

        return hardware.main(args)
    for name in FPGA_ONLY:
        if getattr(args, name) is not None and getattr(args, name) is not False:
            raise UsageError(f"--{name.replace('_', '-')} is for the hardware: add --target fpga")
    place = locate(args.root)
    try:
        result = run(args.id, place=place, seeds=args.seed, progress=not args.quiet)
    except CannotRunError as error:
        print(f"qkb run: {error}", file=sys.stderr)
        return 1
    from reference_impls.kit import report, results  # noqa: PLC0415
    from reference_impls.kit.files import write_whole  # noqa: PLC0415

    if args.figure:
        try:
            write_whole(Path(args.figure), figure(result, args.id))
        except OSError as error:
            print(f"qkb run: the figure cannot be written: {error}", file=sys.stderr)
            return 2
    if args.json:
        print(results.to_json(result), end="")
        return 0
    record = find_record(place, args.id)
    print(f"{record.title} ({record.venue} {record.year})\n")
    print(report.report(result, {claim.id: claim.says for claim in record.claims}))
    if args.seed is None:
        accepted = Methods.of(place).result(args.id)
        drift = ["there is no accepted result yet"] if accepted is None else results.drift(accepted, result)
        print("\n" + ("The accepted result agrees." if not drift else "\n".join(f"drift: {line}" for line in drift)))
    return 0
