"""The hardware half of `qkb reproduce`: `--target fpga`."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from concurrent.futures import Future, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qkb.commands.reproduce import chosen_of, executor, shard
from qkb.implementations import CannotRunError, Methods
from qkb.paths import locate

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from qkb.paths import Place

NETWORKS = ("mlp", "cnn")


@dataclass(frozen=True)
class Row:
    """What became of one method in one network.

    Attributes:
        id: of the record.
        network: "mlp" or "cnn".
        bits: of the hidden layer; empty where nothing could be lowered.
        images: simulated test images.
        differences: images of which torch, model and hardware say something different.
        cycles: per image, measured.
        lut: look-up tables; None where nothing was synthesised.
        mhz: clock; None where nothing was placed.
        seconds: that it took.
        drift: what differs from the accepted result.
        reason: why nothing could be lowered; empty otherwise.
    """

    id: str
    network: str
    bits: str
    images: int
    differences: int
    cycles: float
    lut: int | None
    mhz: float | None
    seconds: float
    drift: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Done:
    """What a worker process sends back.

    Attributes:
        text: the result's file; empty where nothing could be lowered.
        reason: why nothing could be lowered.
        seconds: that it took.
        files: what stands beside the result, by the end of its name; only where it may be accepted.
    """

    text: str
    reason: str
    seconds: float
    files: Mapping[str, bytes]


def measure(home: str, name: str, network: str, route: bool, accept: bool) -> Done:
    """Measure one method in a worker process."""
    methods = Methods(Path(home))
    methods.make_importable()
    names = ("target", "network", "results", "artefacts")
    parts = {part: importlib.import_module(f"reference_impls.fpga.{part}") for part in names}
    method = importlib.import_module("reference_impls.kit.catalogue").load(name)
    start = time.perf_counter()
    try:
        design, found = parts["target"].measure(method, network, route=route)
    except parts["network"].CannotLowerError as error:
        return Done("", str(error), time.perf_counter() - start, {})
    files = parts["artefacts"].artefacts(design, method.RECORD) if accept and found.exact else {}
    return Done(parts["results"].to_json(found), "", time.perf_counter() - start, files)


def write_beside(result: Path, files: Mapping[str, bytes]) -> None:
    """Write a design's files beside its result, each whole or not at all, and remove those it has no more."""
    from reference_impls.kit.files import write_whole  # noqa: PLC0415 (found only now)

    for old in result.parent.glob(f"{result.stem}.*"):
        if old != result and old.name.removeprefix(result.stem) not in files:
            old.unlink()
    for suffix, content in files.items():
        write_whole(result.with_name(result.stem + suffix), content)


def compare(key: tuple[str, str], methods: Methods, done: Done, *, accept: bool) -> Row:
    """Return the row of one measurement; write it and its files as the accepted ones if that is asked."""
    from reference_impls.fpga import results  # noqa: PLC0415 (found only now)

    record_id, network = key
    path = results.result_path(methods.home, network, record_id)
    seconds = done.seconds
    if not done.text:
        lost = ("there is an accepted result, but nothing can be lowered",) if path.is_file() else ()
        return Row(record_id, network, "", 0, 0, 0.0, None, None, seconds, lost, done.reason)
    found = results.from_json(done.text)
    if accept and found.exact:
        results.write(path, found)
        write_beside(path, done.files)
    try:
        drift = results.drift(results.read(path), found)
    except FileNotFoundError:
        drift = ["there is no accepted result; --accept makes one"]
    except ValueError as error:
        drift = [str(error)]
    return Row(
        record_id,
        network,
        found.bits,
        found.images,
        found.differences,
        found.interval[1],
        None if found.gates is None else found.gates.lut,
        None if found.speed is None else found.speed.fmax,
        seconds,
        tuple(drift),
    )


def run(
    place: Place,
    ids: Iterable[str] = (),
    *,
    networks: Sequence[str] = NETWORKS,
    jobs: int | None = None,
    part: str | None = None,
    accept: bool = False,
    route: bool = False,
    quiet: bool = True,
) -> list[Row]:
    """Train, lower and simulate methods and compare them with the accepted hardware results.

    Args:
        place: the library.
        ids: records; all that have an implementation when empty.
        networks: toy networks.
        jobs: processes; one per processor when not given.
        part: `I/N` for one shard.
        accept: write what was measured as the accepted results, where it is exact, with waveform picture and Verilog.
        route: place and route as well.
        quiet: print no progress.

    Returns:
        a row per record and network, in the records' order.

    Raises:
        UsageError: for ids without implementation, a bad shard or jobs.
        CannotRunError: if a package or tool is missing, or fails.
    """
    methods, able, chosen = chosen_of(place, ids)
    keys = [(record_id, network) for record_id in shard(chosen, part) for network in networks]
    rows: dict[tuple[str, str], Row] = {}
    with executor(jobs or os.cpu_count() or 1, None) as pool:
        waiting: dict[Future[Done], tuple[str, str]] = {
            pool.submit(measure, str(methods.home), able[key[0]], key[1], route, accept): key for key in keys
        }
        for done, future in enumerate(as_completed(waiting), 1):
            key = waiting[future]
            try:
                rows[key] = compare(key, methods, future.result(), accept=accept)
            except (ImportError, RuntimeError) as error:  # a package, or a tool's MissingToolError or ToolError
                pool.shutdown(cancel_futures=True)
                raise CannotRunError(f"{key[0]}, {key[1]}: {error}") from error
            if not quiet:
                row = rows[key]
                state = row.reason or ("drift" if row.drift else "ok")
                print(
                    f"[{done}/{len(keys)}] {row.id}, {row.network}: {state}, {row.seconds:.1f} s",
                    file=sys.stderr,
                    flush=True,
                )
    return [rows[key] for key in keys]


def text_table(rows: Sequence[Row]) -> str:
    """Return the rows as a plain table, drift below the record it belongs to; what has no integers comes last."""
    width = max((len(row.id) for row in rows), default=2)
    lines = [f"{'id':<{width}}  network  bits      images  differ  cycles    LUT4    MHz  seconds  drift"]
    for row in (row for row in rows if not row.reason):
        lut, mhz = ("" if value is None else f"{value:g}" for value in (row.lut, row.mhz))
        cells = f"{row.network:<7}  {row.bits:<8}  {row.images:>6}  {row.differences:>6}  {row.cycles:>6g}"
        costs = f"{lut:>6}  {mhz:>5}  {row.seconds:>7.1f}"
        lines.append(f"{row.id:<{width}}  {cells}  {costs}  {'yes' if row.drift else 'no'}")
        lines += [f"    {line}" for line in row.drift]
    without = {row.id: row.reason for row in rows if row.reason}
    return "\n".join([*lines, *(f"{key}: {reason}" for key, reason in without.items())])


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    try:
        rows = run(
            locate(args.root),
            args.ids,
            networks=[args.network] if args.network else NETWORKS,
            jobs=args.jobs,
            part=args.shard,
            accept=args.accept,
            route=args.route,
            quiet=args.quiet,
        )
    except CannotRunError as error:
        print(f"qkb reproduce: {error}", file=sys.stderr)
        return 1
    if args.format == "json":
        print(json.dumps({"rows": [asdict(row) for row in rows]}, indent=1))
    else:
        print(text_table(rows))
    return 1 if any(row.drift for row in rows) else 0
