"""Print the survey tables as Markdown.

One heading and one table per year, topic, tag, or section of a reading list. Titles link to the work itself, so the
text can be pasted anywhere.

Examples:
  qkb tables
  qkb tables --by topic
  qkb tables --by list --output lists.md
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qkb.implementations import CannotRunError
from qkb.options import add_common, write
from qkb.paths import locate

if TYPE_CHECKING:
    import argparse

    from qkb.site.tables import By

GROUPINGS = ("year", "topic", "tag", "list")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--by", choices=GROUPINGS, default="year", help="what makes a section (default: year)")
    add_common(parser, ["markdown"], "markdown")


def run(by: By = "year", root: str | None = None) -> str:
    """Return the survey tables.

    Raises:
        NoLibraryError: if there is no library.
        FaultsError: if a record is at fault.
    """
    from qkb.site.survey import read_survey  # noqa: PLC0415 (pydantic is loaded only when records are read)
    from qkb.site.tables import document  # noqa: PLC0415

    return document(read_survey(locate(root)), by)


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    try:
        text = run(args.by, args.root)
    except (CannotRunError, ValueError) as error:
        print(f"qkb tables: {error}", file=sys.stderr)
        return 1
    write(text, args.output)
    return 0
