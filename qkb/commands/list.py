"""List tags, topics, venues, reading lists, records, or the records whose implementation is wanted.

`tags`, `topics`, `venues` and `lists` print the terms in the order of their files, with the number of records that
use them. `records` prints every record and `wanted` those without an implementation, in all formats of qkb query.

Examples:
  qkb list tags
  qkb list topics --format json
  qkb list wanted --format ids
  qkb list records --sort title
"""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import TYPE_CHECKING, Any

from qkb.errors import UsageError
from qkb.filters import SORTS
from qkb.formats import FORMATS, dump, to_csv, to_table
from qkb.options import add_common, on_terminal, open_library, terminal_width, write

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from qkb.library import Library

VOCABULARIES = {"tags": "tag", "topics": "topic", "venues": "venue", "lists": "list"}
RECORDS = ("records", "wanted")
KEYS = ("id", "name", "description", "count")
FOR_TERMS = ("table", "json", "jsonl", "csv", "ids")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    choices = (*VOCABULARIES, *RECORDS)
    parser.add_argument("what", choices=choices, metavar="WHAT", help=f"one of {', '.join(choices)}")
    parser.add_argument(
        "--sort", action="append", metavar="KEY",
        help=f"for records: {', '.join(key for key in SORTS if key != 'relevance')}; -KEY turns it round",
    )  # fmt: skip
    add_common(parser, FORMATS, "table")


def run(library: Library, what: str) -> list[dict[str, Any]]:
    """Return the terms of a vocabulary: `id`, `name`, `description` and the `count` of records that use it.

    Args:
        library: the library.
        what: `tags`, `topics`, `venues` or `lists`; of lists, the sections come too, as `list/section`.
    """
    term = VOCABULARIES[what]
    used = (
        "SELECT venue AS id, count(*) AS uses FROM records WHERE NOT shadowed AND ?1 = 'venue' GROUP BY venue"
        if term == "venue"
        else "SELECT value AS id, count(*) AS uses FROM labels JOIN records USING (key)"
        " WHERE what = ?1 AND NOT shadowed GROUP BY value"
    )
    # A term that only records know is a fault, but it is used, so it is listed, last.
    rows = library.index.rows(
        f"WITH used AS ({used}) SELECT id, name, description, coalesce(uses, 0), position"  # noqa: S608 (our own text)
        " FROM terms LEFT JOIN used USING (id) WHERE what = ?1"
        " UNION ALL SELECT id, id, '', uses, 1000000 FROM used WHERE id NOT IN (SELECT id FROM terms WHERE what = ?1)"
        " ORDER BY position, id",
        (term,),
    )
    return [dict(zip(KEYS, row[:4], strict=True)) for row in rows]


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    if args.what in RECORDS:
        return _list_records(args)
    if args.format not in FOR_TERMS:
        raise UsageError(f"--format {args.format} is for records; terms are written as {', '.join(FOR_TERMS)}")
    if args.sort:
        raise UsageError("--sort is for records; terms keep the order of their vocabulary")
    columns = terminal_width() if args.format == "table" and on_terminal(args) else None
    terms = run(open_library(args), args.what)
    write(write_terms(terms, args.format, columns), args.output)
    return 0 if terms else 1


def write_terms(terms: Sequence[dict[str, Any]], name: str, columns: int | None = None) -> str:
    """Return terms in one of the formats `FOR_TERMS`; with `columns`, a table is cut to a terminal."""
    if name == "ids":
        return "".join(f"{term['id']}\n" for term in terms)
    if name == "json":
        return json.dumps(terms, ensure_ascii=False, indent=2) + "\n"
    if name == "jsonl":
        return "".join(json.dumps(term, ensure_ascii=False) + "\n" for term in terms)
    if name == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(KEYS)
        writer.writerows([to_csv.safe(str(term[key])) for key in KEYS] for term in terms)
        return text.getvalue()
    rows = [(term["id"], str(term["count"]), term["name"]) for term in terms]
    return to_table.align(rows, ("ID", "RECORDS", "NAME"), columns)


def _list_records(args: argparse.Namespace) -> int:
    library = open_library(args)
    exclude = {"has": "implementation"} if args.what == "wanted" else None
    entries = library.query(exclude=exclude, sort=args.sort)
    if args.format == "table" and on_terminal(args):
        write(to_table.dump(entries, terminal_width()), args.output)
    else:
        write(dump(entries, args.format), args.output)
    if entries:
        return 0
    if not args.quiet:
        found = "every record has an implementation" if args.what == "wanted" else "there are no records"
        print(f"qkb list: {found}", file=sys.stderr)
    return 1
