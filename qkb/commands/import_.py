"""Take in papers from BibTeX, CSL-JSON, RIS or a reading list in Markdown; a dry run unless told to write.

Every row of the FILEs is accounted for: `new`, with the id that it would get; `known`, as the record that it is;
`ambiguous`, where it may be one of several records or something contradicts; `not understood`. The totals on
standard error add up to the rows seen. What is no row, such as a heading, a note below a paper or a table of contents,
is counted there, too, and listed with --verbose. - reads standard input.

A work is known by its arXiv id, DOI, OpenReview id or address, by its title or an alias, or by a title that is spelled
a little otherwise; authors, year and identifiers must not contradict.

With --write, a draft is written for each new work: papers/YEAR/ID.yaml, with what the source says and nothing else. A
key that a record must have and the source does not give (topics, claims, notes, often more) is left out, and qkb
validate names it as missing. Existing files are never changed, and a second run finds every work known.

A new work without a year, whose file therefore has no folder, is not written, unless --year-folder names one. Where
only an arXiv id is known, its year is taken.

Exit codes: 0 every row is new or known, 1 some row is ambiguous or not understood, or a draft could not be written,
2 wrong usage.

Examples:
  qkb import library.bib
  qkb import README.md --verbose
  qkb import README.md --write --year-folder 2024
  curl -s https://example.org/list | qkb import - --from markdown --format json
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qkb.commands.validate import count
from qkb.errors import UsageError
from qkb.options import add_common, on_terminal, terminal_width, write
from qkb.paths import locate
from qkb.records.faults import visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from qkb.imports.account import Account
    from qkb.paths import Place

SOURCES = ("auto", "bibtex", "csl", "ris", "markdown")
FORMATS = ("table", "json", "jsonl")
FIRST_YEAR, LAST_YEAR = 1940, 2100


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file to read; - for standard input")
    parser.add_argument(
        "--from", dest="source", choices=SOURCES, default="auto", metavar="FORMAT",
        help=f"what the files are: {', '.join(SOURCES)} (default: auto, by name or content)",
    )  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write drafts of the new works (default: a dry run)")
    parser.add_argument(
        "--year-folder", type=int, metavar="YEAR", help="the folder of new works whose source names no year"
    )
    parser.add_argument("--verbose", action="store_true", help="list what was passed over, and why")
    add_common(parser, FORMATS, "table")


def run(
    place: Place,
    files: Sequence[str],
    *,
    source: str = "auto",
    year_folder: int | None = None,
    to_write: bool = False,
    notify: Callable[[str], None] | None = None,
) -> Account:
    """Compare the works that files name with a library; see `qkb.imports.account.run`.

    Raises:
        UsageError: the year cannot be one, or the library cannot be written to.
        FaultsError: a file is no text.
        OSError: a file cannot be read or written.
    """
    from qkb.imports import account  # noqa: PLC0415 (pydantic, and the readers)

    if year_folder is not None and not FIRST_YEAR <= year_folder <= LAST_YEAR:
        raise UsageError(f"--year-folder {year_folder}: write a year from {FIRST_YEAR} to {LAST_YEAR}")
    if to_write and place.bundled:
        raise UsageError("--write: this is the installed copy; name a checkout with --root DIR")
    return account.run(place, files, form=source, year=year_folder, write=to_write, notify=notify)


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from qkb.imports.account import dump  # noqa: PLC0415

    def tell(sentence: str) -> None:
        if not args.quiet:
            print(visible(f"qkb import: {sentence}"), file=sys.stderr)

    account = run(
        locate(args.root),
        args.files,
        source=args.source,
        year_folder=args.year_folder,
        to_write=args.write,
        notify=lambda path: tell(f"wrote {path}"),
    )
    columns = terminal_width() if args.format == "table" and on_terminal(args) else None
    write(dump(account, args.format, verbose=args.verbose, columns=columns), args.output)
    if args.verbose and args.format != "json":
        for file, skipped in account.skipped:
            print(visible(f"{file}:{skipped.line}: passed over: {skipped.why}: {skipped.text[:100]}"), file=sys.stderr)
    for sentence in summary(account, to_write=args.write):
        tell(sentence)
    return 0 if account.understood and not (args.write and _unwritten(account)) else 1


def summary(account: Account, *, to_write: bool) -> list[str]:
    """Return the account in a few sentences."""
    totals = account.totals
    parts = ", ".join(f"{number} {status}" for status, number in totals.items() if status != "rows")
    told = [f"{count(totals['rows'], 'row')}: {parts}; {count(len(account.skipped), 'part')} passed over"]
    if account.homeless:
        works = count(len(account.homeless), "new work")
        told.append(f"{works} without a year: give the source's year, or name a folder with --year-folder YEAR")
    if to_write:
        told.append(f"{count(len(account.written), 'draft')} written; qkb validate names what each of them lacks")
    elif totals["new"]:
        told.append("nothing is written; --write writes drafts of the new works")
    return told


def _unwritten(account: Account) -> bool:
    return any(line.status == "new" and not line.written for line in account.lines)
