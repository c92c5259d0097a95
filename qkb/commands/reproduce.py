"""Measure every implementation again and compare with the accepted results.

Exit code 1 when a number or a verdict drifts from the accepted result, or when a record, implementation, test or
result has lost its counterpart. A verdict that is unwelcome but the same as before is no drift.

With --target fpga every method with integers is trained in two toy networks, lowered, simulated and synthesised. Then
it is drift if a single image or cycle differs between torch, the integer model and the simulated hardware.

Examples:
  qkb reproduce
  qkb reproduce xnor-net twn --jobs 2
  qkb reproduce --shard 1/4
  qkb reproduce pact --accept
  qkb reproduce --dask tcp://127.0.0.1:8786
  qkb reproduce --target fpga
  qkb reproduce bnn twn --target fpga --network mlp --route --accept
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING

from qkb.errors import UsageError
from qkb.implementations import WANTED, CannotRunError, Methods, orphans
from qkb.paths import locate

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from qkb.paths import Place
    from qkb.records.faults import Fault
    from qkb.records.model import Record
    from reference_impls.kit.results import Result


@dataclass(frozen=True)
class Row:
    """What became of one record's implementation."""

    id: str
    reproduced: int
    not_reproduced: int
    inconclusive: int
    drift: tuple[str, ...]
    seconds: float


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("ids", metavar="ID", nargs="*", help="records to reproduce (default: all with a method)")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per processor)")
    parser.add_argument("--shard", metavar="I/N", help="only the I-th of N parts, for a CI matrix (1 <= I <= N)")
    parser.add_argument("--dask", metavar="ADDRESS", help="run on this Dask cluster (needs the package distributed)")
    parser.add_argument("--accept", action="store_true", help="write what was measured as the accepted results")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to print (default: text)")
    parser.add_argument("--root", metavar="DIR", help="the library to use (default: found from the current folder)")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.add_argument("--target", choices=["cpu", "fpga"], default="cpu", help="what to reproduce (default: cpu)")
    fpga = parser.add_argument_group("with --target fpga")
    fpga.add_argument("--network", choices=["mlp", "cnn"], help="one of the toy networks (default: both)")
    fpga.add_argument("--route", action="store_true", help="place and route as well, with three seeds")


def shard(ids: Sequence[str], text: str | None) -> list[str]:
    """Return the I-th of N parts of a sequence, dealt out in turn.

    >>> shard(["a", "b", "c"], "1/2"), shard(["a", "b", "c"], "2/2")
    (['a', 'c'], ['b'])
    """
    if text is None:
        return list(ids)
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UsageError(f"--shard {text}: write I/N with 1 <= I <= N, such as 1/4")
    return list(ids[int(part) - 1 :: int(parts)])


def measure(home: str, name: str) -> tuple[str, float]:
    """Measure one implementation in a worker process; returns the result file's text and the seconds it took."""
    methods = Methods(Path(home))
    methods.make_importable()
    from reference_impls.kit.results import to_json  # noqa: PLC0415 (found only now)

    start = time.perf_counter()
    result = methods.measure(name)
    return to_json(result), time.perf_counter() - start


def executor(jobs: int, dask: str | None) -> Executor:
    """Return what runs the methods: fresh processes here, or a Dask cluster's workers.

    Raises:
        UsageError: if the number of jobs is not positive, or the cluster cannot be reached.
    """
    if dask is None:
        if jobs < 1:
            raise UsageError(f"--jobs {jobs}: at least one process is needed")
        return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        from distributed import Client  # noqa: PLC0415

        return Client(dask, timeout=10).get_executor()  # type: ignore[no-any-return]
    except ImportError:
        raise UsageError("--dask needs the package distributed: pip install distributed") from None
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(f"--dask {dask}: no cluster answers there ({error})") from error


def compare(record_id: str, methods: Methods, measured: Result, seconds: float) -> Row:
    """Return the row of one measurement: its verdicts counted, and its drift from the accepted result."""
    from reference_impls.kit.results import drift  # noqa: PLC0415

    verdicts = [claim.verdict for claim in measured.claims]
    try:
        accepted = methods.result(record_id)
        found = ["there is no accepted result; --accept makes one"] if accepted is None else drift(accepted, measured)
    except ValueError as error:
        found = [str(error)]
    counts = (verdicts.count("reproduced"), verdicts.count("not reproduced"), verdicts.count("inconclusive"))
    return Row(record_id, *counts, tuple(found), seconds)


def load_records(place: Place) -> Mapping[str, Record]:
    """Return all records by id."""
    from qkb.records.load import load_all  # noqa: PLC0415 (pydantic is loaded only when it is needed)

    return load_all(place).records


def chosen_of(place: Place, ids: Iterable[str]) -> tuple[Methods, dict[str, str], list[str]]:
    """Return the implementations, the name of each by record, and the records asked for (all when none are).

    Raises:
        UsageError: for ids without implementation.
        CannotRunError: if a method's file is missing.
    """
    records = load_records(place)
    methods = Methods.of(place)
    able = {record.id: record.implementation for record in records.values() if record.implementation != WANTED}
    chosen = list(dict.fromkeys(ids)) or sorted(able)
    for record_id in chosen:
        if record_id not in able:
            reason = "has no implementation yet" if record_id in records else "is no record; see qkb list records"
            raise UsageError(f"{record_id} {reason}")
    missing = [name for name in sorted({able[i] for i in chosen}) if not methods.source(name).is_file()]
    if missing:
        raise CannotRunError(f"there is no file {methods.source(missing[0])}")
    return methods, able, chosen


def run(
    place: Place,
    ids: Iterable[str] = (),
    *,
    jobs: int | None = None,
    part: str | None = None,
    dask: str | None = None,
    accept: bool = False,
    quiet: bool = True,
) -> tuple[list[Row], list[Fault]]:
    """Measure implementations and compare them with the accepted results.

    Args:
        place: the library.
        ids: records; all that have an implementation when empty.
        jobs: processes; one per processor when not given.
        part: `I/N` for one shard.
        dask: address of a Dask scheduler.
        accept: write the measurements as the accepted results.
        quiet: print no progress.

    Returns:
        a row per record, in the records' order, and the orphans (looked for when all records are run).

    Raises:
        UsageError: for ids without implementation, a bad shard or jobs.
        CannotRunError: if a method cannot be imported.
    """
    methods, able, chosen = chosen_of(place, ids)
    from reference_impls.kit.results import from_json, write  # noqa: PLC0415 (found only now)

    chosen = shard(chosen, part)
    rows: dict[str, Row] = {}
    with executor(jobs or cpu_count() or 1, dask) as pool:
        waiting: dict[Future[tuple[str, float]], str] = {
            pool.submit(measure, str(methods.home), able[record_id]): record_id for record_id in chosen
        }
        for done, future in enumerate(as_completed(waiting), 1):
            record_id = waiting[future]
            text, seconds = future.result()
            measured = from_json(text)
            if accept:
                write(methods.result_path(record_id), measured)
            rows[record_id] = compare(record_id, methods, measured, seconds)
            if not quiet:
                state = "drift" if rows[record_id].drift else "ok"
                print(f"[{done}/{len(chosen)}] {record_id}: {state}, {seconds:.1f} s", file=sys.stderr, flush=True)
    tests = methods.home.parent / "tests" / "reference_impls"
    records = {} if ids else load_records(place)
    lost = [] if ids else orphans(methods, records, tests if tests.is_dir() else None)
    return [rows[record_id] for record_id in chosen], lost


def text_table(rows: Sequence[Row]) -> str:
    """Return the rows as a plain table, drift below the record it belongs to."""
    width = max((len(row.id) for row in rows), default=2)
    lines = [f"{'id':<{width}}  reproduced  not reproduced  inconclusive  seconds  drift"]
    for row in rows:
        cells = f"{row.reproduced:>10}  {row.not_reproduced:>14}  {row.inconclusive:>12}  {row.seconds:>7.1f}"
        lines.append(f"{row.id:<{width}}  {cells}  {'yes' if row.drift else 'no'}")
        lines += [f"    {line}" for line in row.drift]
    return "\n".join(lines)


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    if args.target == "fpga":
        if args.dask:
            raise UsageError("--dask is for --target cpu: a cluster's workers have no simulators")
        from qkb.hardware import reproduce as hardware  # noqa: PLC0415

        return hardware.main(args)
    if args.network or args.route:
        raise UsageError("--network and --route are for the hardware: add --target fpga")
    try:
        rows, lost = run(
            locate(args.root),
            args.ids,
            jobs=args.jobs,
            part=args.shard,
            dask=args.dask,
            accept=args.accept,
            quiet=args.quiet,
        )
    except CannotRunError as error:
        print(f"qkb reproduce: {error}", file=sys.stderr)
        return 1
    if args.format == "json":
        print(json.dumps({"rows": [asdict(row) for row in rows], "faults": [str(fault) for fault in lost]}, indent=1))
    else:
        print(text_table(rows))
    for fault in lost:
        print(fault, file=sys.stderr)
    return 1 if lost or any(row.drift for row in rows) else 0
