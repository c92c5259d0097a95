"""Print the survey tables as Markdown, or keep them up to date in a file.

One heading and one table per year, topic, tag, or section of a reading list. Titles link to the work itself, so the
text can be pasted anywhere.

With --check or --write, FILEs are Markdown files that hold tables between two markers, each on a line of its own:
`<!-- qkb tables --by year -->` and `<!-- /qkb -->`. --check tells which tables are out of date and writes nothing;
--write makes these anew and leaves the rest of the file as it is. Exit codes: 0 done or up to date, 1 something is out
of date or at fault, 2 wrong usage.

Examples:
  qkb tables
  qkb tables --by topic
  qkb tables --by list --output lists.md
  qkb tables --check README.md
  qkb tables --write README.md
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from qkb.errors import UsageError
from qkb.implementations import CannotRunError
from qkb.options import add_common, write
from qkb.paths import locate
from qkb.records.faults import Fault, FaultsError, visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from qkb.site.tables import By

GROUPINGS = ("year", "topic", "tag", "list")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="with --check or --write: a file that holds tables")
    parser.add_argument("--by", choices=GROUPINGS, help="what makes a section (default: year)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="tell which tables of the FILEs are out of date")
    what.add_argument("--write", action="store_true", help="renew the tables of the FILEs that are out of date")
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


def run_files(files: Sequence[str], root: str | None = None, *, to_write: bool = False) -> list[Fault]:
    """Return a fault for each table in the files that is out of date; with `to_write`, renew these tables.

    Nothing is written before all files have been read.

    Raises:
        NoLibraryError: if there is no library.
        FaultsError: if a record or a marker is at fault, or a file is no text.
        OSError: if a file cannot be read or written.
    """
    from qkb.site.blocks import renewed  # noqa: PLC0415 (only here)
    from qkb.site.survey import read_survey  # noqa: PLC0415
    from qkb.site.tables import document  # noqa: PLC0415

    survey = read_survey(locate(root))
    made: dict[str, str] = {}

    def make(by: str) -> str:
        if by not in made:
            made[by] = document(survey, cast("By", by))
        return made[by]

    found: list[Fault] = []
    wrong: list[Fault] = []
    new: dict[str, str] = {}
    for file in files:
        try:
            text = Path(file).read_bytes().decode()
            new[file], stale = renewed(text, file, GROUPINGS, make)
            found += stale
            if text == new[file]:
                del new[file]
        except UnicodeDecodeError:
            wrong.append(Fault(file, 1, "", "this is no UTF-8: save the file as UTF-8"))
        except FaultsError as error:
            wrong += error.faults
    if wrong:
        raise FaultsError(wrong)
    if to_write:
        for file, text in new.items():
            write(text, file)
    return found


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    if bool(args.files) != (args.check or args.write):
        raise UsageError("FILEs and --check or --write belong together: qkb tables --check README.md")
    if args.files and (args.by or args.output):
        raise UsageError("--by and --output go without FILEs: the markers in a file say what stands there")
    try:
        if not args.files:
            write(run(args.by or "year", args.root), args.output)
            return 0
        stale = run_files(args.files, args.root, to_write=args.write)
    except (CannotRunError, ValueError) as error:
        print(f"qkb tables: {error}", file=sys.stderr)
        return 1
    if not args.write:
        write("".join(f"{fault}\n" for fault in stale), None)
    elif not args.quiet:
        for fault in stale:
            print(visible(f"qkb tables: {fault.file}:{fault.line}: renewed"), file=sys.stderr)
    return 1 if stale and not args.write else 0
