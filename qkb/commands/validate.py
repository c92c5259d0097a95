"""Check the records, the vocabulary and the reading lists, and name every fault.

Each fault is one line, FILE:LINE: PATH: what is wrong and what to do about it. All faults are printed, sorted by file
and line; a summary goes to standard error. Rules that compare files always look at the whole library; PATHs limit what
is reported, not what is compared.

A record whose implementation does not exist yet says `implementation: wanted`. These are counted, and are faults with
--strict. papers/schema.json, which tells editors what a record may say, must be up to date; --write-schema writes it.

Exit codes: 0 no fault, 1 faults, 2 wrong usage.

Examples:
  qkb validate
  qkb validate papers/2016/xnor-net.yaml
  qkb validate --strict --format github
  qkb validate --format json | jq '.faults[].file'
  qkb validate --write-schema
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from qkb.errors import UsageError
from qkb.options import add_common, write
from qkb.paths import Place, locate
from qkb.records.faults import Fault, FaultsError, visible
from qkb.text import plain_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from qkb.records.vocabulary import Vocabulary

FORMATS = ("text", "json", "github")


@dataclass(frozen=True)
class Report:
    """What a check found.

    Args:
        faults: everything that is wrong, sorted.
        records: how many files of records were looked at.
        wanted: ids of the records whose implementation is still wanted.
    """

    faults: tuple[Fault, ...]
    records: int
    wanted: tuple[str, ...]

    def summary(self) -> str:
        """Return the report in one line."""
        found = "no faults"
        if self.faults:
            files = len({fault.file for fault in self.faults})
            found = f"{count(len(self.faults), 'fault')} in {count(files, 'file')}"
        wanted = f"{len(self.wanted)} of {count(self.records, 'implementation')} {_are(len(self.wanted))} wanted"
        return f"{count(self.records, 'record')}, {found}; {wanted}"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="report only what is wrong with this file or folder (default: all)"
    )
    parser.add_argument("--strict", action="store_true", help="an implementation that is wanted is a fault")
    schema = parser.add_mutually_exclusive_group()
    schema.add_argument("--check-schema", action="store_true", help="check papers/schema.json, and nothing else")
    schema.add_argument("--write-schema", action="store_true", help="write papers/schema.json, and check nothing")
    add_common(parser, FORMATS, "text")


def run(place: Place, paths: Sequence[str] = (), *, strict: bool = False) -> Report:
    """Check a library.

    Args:
        place: the library.
        paths: files and folders in it to report on; none for all.
        strict: whether a wanted implementation is a fault.

    Raises:
        UsageError: a path does not exist, or is not in the library.
    """
    from qkb.records.load import load_all  # noqa: PLC0415 (pydantic: only when records are read)
    from qkb.records.schema import check_schema  # noqa: PLC0415
    from qkb.records.yaml_lines import line_of  # noqa: PLC0415

    chosen = inside(place, paths)
    papers = load_all(place)
    faults = list(papers.faults)
    if not any(fault.file.startswith("papers/vocabulary/") for fault in faults):
        faults += check_schema(papers.vocabulary, place.root)
    files = {name: file for name, file in papers.files.items() if is_chosen(file, chosen)}
    wanted = [name for name in papers.wanted if name in files]
    if strict:
        message = "still wanted: write the implementation and name it here as family/module"
        for name in wanted:
            line = line_of(papers.lines[name], "implementation")
            faults.append(Fault(papers.files[name], line, "implementation", message))
    reported = tuple(sorted(fault for fault in faults if is_chosen(fault.file, chosen)))
    return Report(reported, len(files), tuple(wanted))


def run_schema(place: Place, *, to_write: bool) -> tuple[Fault, ...]:
    """Write papers/schema.json, or check that it is up to date.

    Raises:
        FaultsError: the vocabulary has faults.
    """
    from qkb.records.schema import FILE, check_schema, schema_text  # noqa: PLC0415 (pydantic)

    vocabulary = _sound_vocabulary(place)
    if not to_write:
        return tuple(check_schema(vocabulary, place.root))
    write(schema_text(vocabulary), os.path.join(place, FILE))  # noqa: PTH118 (a Place is a path)
    return ()


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    place = locate(args.root)
    if args.write_schema or args.check_schema:
        if args.paths or args.strict:
            raise UsageError("--write-schema and --check-schema take neither PATHs nor --strict")
        faults = run_schema(place, to_write=args.write_schema)
        write(render(Report(faults, 0, ()), args.format), args.output)
        if args.write_schema and not args.quiet:
            print("qkb validate: papers/schema.json is written", file=sys.stderr)
        return 1 if faults else 0
    report = run(place, args.paths, strict=args.strict)
    write(render(report, args.format), args.output)
    if not args.quiet:
        print(f"qkb validate: {report.summary()}", file=sys.stderr)
    return 1 if report.faults else 0


def render(report: Report, form: str) -> str:
    """Return a report as text, JSON, or annotations of GitHub."""
    if form == "json":
        return plain_json(json.dumps(asdict(report), ensure_ascii=False, indent=2)) + "\n"
    line = annotation if form == "github" else str
    return "".join(f"{line(fault)}\n" for fault in report.faults)


def annotation(fault: Fault) -> str:
    """Return a fault as GitHub shows it beside the changed line.

    >>> annotation(Fault("papers/2016/a.yaml", 3, "kind", "100% wrong"))
    '::error file=papers/2016/a.yaml,line=3,title=kind::100%25 wrong'
    """
    title = f",title={_escaped(fault.path, ':,')}" if fault.path else ""
    return visible(f"::error file={_escaped(fault.file, ':,')},line={fault.line}{title}::{_escaped(fault.message)}")


def inside(place: Place, paths: Iterable[str]) -> list[str]:
    """Return paths relative to the library's root, with forward slashes.

    Raises:
        UsageError: a path does not exist, or is not in the library.
    """
    root = os.path.realpath(place)
    found = []
    for path in paths:
        full = os.path.realpath(path)
        if not os.path.lexists(path):
            raise UsageError(f"there is no file {path}")
        if full != root and not full.startswith(os.path.join(root, "")):  # noqa: PTH118
            raise UsageError(f"{path} is not in the library {root}; name its own with --root DIR")
        found.append(os.path.relpath(full, root).replace(os.sep, "/"))
    return found


def is_chosen(file: str, chosen: Sequence[str]) -> bool:
    """Tell whether a file is one of the chosen files and folders, or in one; without any, every file is."""
    return not chosen or any(path in (".", file) or file.startswith(f"{path}/") for path in chosen)


def _sound_vocabulary(place: Place) -> Vocabulary:
    from qkb.records.vocabulary import load_vocabulary  # noqa: PLC0415 (pydantic)

    loaded = load_vocabulary(place)
    if loaded.faults:
        raise FaultsError(loaded.faults)
    return loaded.vocabulary


def _escaped(text: str, marks: str = "") -> str:
    for mark in f"%\r\n{marks}":
        text = text.replace(mark, f"%{ord(mark):02X}")
    return text


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "file"), count(2, "file")
    ('1 file', '2 files')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
