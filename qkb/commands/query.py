"""Find records by tag, year, venue, author, topic, bit-widths, text and more.

An option that is given several times accepts any of its values; different options must all hold; --not takes away
what matches. Tags, topics, venues and lists are closed vocabularies: a mistyped one is an error that names the nearest.
Without options every record is printed. Of what --has asks for, `implementation` is a method that exists, and `fpga` is
one with accepted hardware results: cycles, cells and clock. (Works on FPGAs are the topic: --topic fpga.)

On a terminal the table fits the window and has a header; in a pipe or a file nothing is cut, and every line is a
record. The other formats are for programs. Exit codes: 0 found, 1 nothing found, 2 wrong usage.

Examples:
  qkb query --tag bnn --year 2017
  qkb query --year 2015..2018 --bits w1a1 --has official-code
  qkb query --venue NIPS --author courbariaux --format bibtex
  qkb query --text '"straight-through" popcount*' --limit 5
  qkb query --topic ternary --not tag=hardware --not year=..2016
  qkb query --list model-quantization/2016 --sort title --format csv --output list.csv
  qkb query --tag bnn --format jsonl | jq -r .title
"""

from __future__ import annotations

import sys

from qkb.errors import UsageError, nearest
from qkb.filters import FILTERS, HAS, KINDS, SORTS
from qkb.formats import FORMATS, dump
from qkb.library import ARGUMENTS
from qkb.options import add_common, on_terminal, open_library, terminal_width, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from qkb.entry import Entry
    from qkb.library import Library

OPTIONS = {option: argument for argument, option in ARGUMENTS.items()}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_filters(parser)
    add_common(parser, FORMATS, "table")


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which records, and in which order."""
    for option, metavar, meaning in (
        ("tag", "TAG", "a tag; qkb list tags prints them"),
        ("year", "YEARS", "2017, 2015..2018, ..2016 or 2019.."),
        ("venue", "VENUE", "a venue, by any of its names, in any case"),
        ("author", "NAME", "a part of an author's name; case and accents do not matter"),
        ("topic", "TOPIC", "a topic; qkb list topics prints them"),
        ("bits", "BITS", "bit-widths of weights, activations, gradients, errors: w1a1, w2..4, g4, e8, wfp"),
        ("text", "WORDS", 'words that all occur in title, authors, names, claims or notes; "a phrase"; a start*'),
        ("kind", "KIND", f"a kind of work: {', '.join(KINDS)}"),
        ("list", "LIST", "a reading list, or LIST/SECTION of it; qkb list lists prints them"),
        ("has", "WHAT", f"what the record must have: {', '.join(HAS)}"),
        ("id", "ID", "the record of this name"),
    ):
        parser.add_argument(f"--{option}", action="append", metavar=metavar, help=meaning)
    parser.add_argument(
        "--not", action="append", dest="without", metavar="OPTION=VALUE", default=[],
        help="leave out what an option would find: --not tag=hardware",
    )  # fmt: skip
    parser.add_argument(
        "--sort", action="append", metavar="KEY",
        help=f"{', '.join(SORTS)}; -KEY turns it round; several, separated by commas "
        "(default: relevance with --text, else year)",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, metavar="N", help="print the first N records only")


def run(library: Library, **filters: Any) -> list[Entry]:
    """Return the records that satisfy the filters: those of `Library.query`."""
    return library.query(**filters)


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    entries = run(open_library(args), **asked(args))
    if args.format == "table" and on_terminal(args):
        from qkb.formats import to_table  # noqa: PLC0415

        sys.stdout.write(to_table.dump(entries, terminal_width()))
    else:
        write(dump(entries, args.format), args.output)
    if entries:
        return 0
    if not args.quiet:
        print("qkb query: no record matches", file=sys.stderr)
    return 1


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of `add_filters` say, as `Library.query` takes it."""
    return {
        **{argument: getattr(args, option) for argument, option in ARGUMENTS.items()},
        "exclude": excluded(args.without),
        "sort": args.sort,
        "limit": args.limit,
    }


def excluded(conditions: list[str]) -> dict[str, list[str]]:
    """Return `OPTION=VALUE` conditions as `Library.query` takes them.

    >>> excluded(["tag=hardware", "year=..2016", "tag=qnn"])
    {'tags': ['hardware', 'qnn'], 'years': ['..2016']}
    """
    found: dict[str, list[str]] = {}
    for condition in conditions:
        option, equals, value = condition.removeprefix("--").partition("=")
        if not equals or option not in OPTIONS:
            hint = nearest(option, FILTERS) if equals else "Write --not OPTION=VALUE, such as --not tag=hardware"
            raise UsageError(f"--not {condition}: {hint or 'OPTION is one of ' + ', '.join(FILTERS)}")
        found.setdefault(OPTIONS[option], []).append(value)
    return found
