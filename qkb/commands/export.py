"""Write records to a file that other programs read: BibTeX, BibLaTeX, CSL-JSON, RIS, CSV, SQLite and more.

The format follows from the file's extension (.bib, .json, .jsonl, .ris, .csv, .md, .sqlite, .db, .yaml), unless
--format names it: for CSL-JSON in a .json file, and for BibLaTeX. Which records are written is said with the options
of qkb query; without any it is all of them. - writes to standard output.

The file is written whole or not at all. One that exists is left as it is, unless --force is given. The layout of the
SQLite database stands in the docstring of qkb.formats.sqlite. What bibliographies hold is taken in again by qkb import.

Exit codes: 0 written, 1 no record matches or the file exists, 2 wrong usage.

Examples:
  qkb export survey.bib
  qkb export survey.bib --format biblatex --force
  qkb export ternary.ris --topic ternary --year 2016..2018
  qkb export records.sqlite
  qkb export - --format csl | pandoc -f csljson -t bibtex
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkb import fresh
from qkb.commands.query import add_filters, asked
from qkb.commands.validate import count
from qkb.errors import UsageError
from qkb.formats import dump
from qkb.options import add_root, open_library

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from qkb.entry import Entry
    from qkb.library import Library

FORMATS = ("bibtex", "biblatex", "csl", "ris", "csv", "markdown", "sqlite", "json", "jsonl", "yaml")
SUFFIXES = {
    ".bib": "bibtex", ".bibtex": "bibtex", ".ris": "ris", ".csv": "csv", ".md": "markdown", ".markdown": "markdown",
    ".sqlite": "sqlite", ".sqlite3": "sqlite", ".db": "sqlite", ".json": "json", ".csl": "csl", ".jsonl": "jsonl",
    ".ndjson": "jsonl", ".yaml": "yaml", ".yml": "yaml",
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="the file to write; - for standard output")
    parser.add_argument(
        "--format", choices=FORMATS, metavar="FORMAT",
        help=f"how to write it: {', '.join(FORMATS)} (default: by the file's extension)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    add_filters(parser)
    add_root(parser)
    parser.add_argument("--quiet", action="store_true", help="print no messages, only data and errors")


def run(library: Library, form: str, **filters: Any) -> tuple[list[Entry], bytes]:
    """Return the records that satisfy the filters of `Library.query`, and the content of their file.

    Raises:
        UsageError: there is no such format, or a filter cannot be understood.
    """
    if form not in FORMATS:
        raise UsageError(f"there is no format {form!r}; there are {', '.join(FORMATS)}")
    entries = library.query(**filters)
    return entries, content(entries, form)


def content(entries: Sequence[Entry], form: str) -> bytes:
    """Return records in a format, as the bytes of a file."""
    if form == "sqlite":
        from qkb.formats import sqlite  # noqa: PLC0415 (other formats do without)

        return sqlite.dump(entries)
    return dump(entries, form).encode()


def save(data: bytes, target: Path, *, force: bool = False) -> bool:
    """Write a file whole or not at all; tell whether it was written: without `force`, what exists stays as it is."""
    if not force:
        return fresh.create(target, data)
    target = Path(os.path.realpath(target))
    temporary = target.with_name(f".{target.name[:80]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    form = args.format or SUFFIXES.get(Path(args.file).suffix.lower())
    if form is None:
        raise UsageError(f"{args.file}: the format does not follow from the name; give --format, {', '.join(FORMATS)}")
    target = None if args.file == "-" else Path(args.file)
    if target is not None and not args.force and os.path.lexists(target):
        return _exists(target)
    entries, data = run(open_library(args), form, **asked(args))
    if not entries:
        print("qkb export: no record matches; nothing is written", file=sys.stderr)
        return 1
    if target is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return 0
    if not save(data, target, force=args.force):
        return _exists(target)
    if not args.quiet:
        print(f"qkb export: {count(len(entries), 'record')} written to {target} as {form}", file=sys.stderr)
    return 0


def _exists(target: Path) -> int:
    print(f"qkb export: {target} exists and is left as it is; --force replaces it", file=sys.stderr)
    return 1
