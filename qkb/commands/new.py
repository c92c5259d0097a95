"""Begin a paper: write its record and the files of its method, and list what is left to do.

WORK is an arXiv id, a DOI, openreview:ID, or an address of one of these. arXiv, Crossref, DataCite, OpenReview, DBLP
and Semantic Scholar are asked for title, authors, year, venue and pages, politely, and their answers are kept for a
week. An entry of BibTeX (--bibtex), or options by hand, say the same or add to it; what is given here is never replaced
by what a registry says. The environment variable QKB_MAILTO may hold an address at which the registries can reach you.

The record says what a source says. What nobody may invent (tags, topics, claims, notes) is left out, so that qkb
validate names it. The method and its tests fail until they are written, and say what belongs there. Results are
measured, never written by hand. Existing files are never changed; a work that has a record is refused, with its id.

Where WORK is the id of a record, the files of its method are written. Without --family, the family is the one that the
title speaks of; where it speaks of none, the record alone is written.

Without network, or with --offline, the files hold what the identifier, earlier answers and the options say; the list
is longer then, and the exit code is still 0. The year has to be known: it is the folder.

Exit codes: 0 done, 1 the work is known or nobody knows it, or a file is in the way, 2 wrong usage.

Examples:
  qkb new 1603.05279
  qkb new https://doi.org/10.1007/978-3-319-46493-0_32 --id xnor-net --family binary
  qkb new openreview:BkgXT24tDS --dry-run
  qkb new --bibtex paper.bib --no-method
  qkb new --title "A Work" --author "Ada Lind" --year 2016 --venue ECCV --url https://example.org/work
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qkb.commands.validate import count
from qkb.errors import UsageError
from qkb.options import add_common, write
from qkb.paths import locate
from qkb.records.faults import visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from qkb.imports.work import Work
    from qkb.metadata.http import Client
    from qkb.paths import Place
    from qkb.scaffold.plan import Plan

FORMATS = ("text", "json")
FIRST_YEAR, LAST_YEAR = 1940, 2100


@dataclass(frozen=True)
class Begun:
    """What was done, or would be.

    Args:
        plan: the files, and what is left to do.
        written: paths of the files that were written; none in a dry run.
        kept: paths of the files that were there already.
    """

    plan: Plan
    written: tuple[str, ...]
    kept: tuple[str, ...]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("work", nargs="?", metavar="WORK", help="arXiv id, DOI, openreview:ID, address, or record id")
    parser.add_argument("--bibtex", metavar="FILE", help="take what this entry says; - for standard input")
    parser.add_argument("--title", help="the published title")
    parser.add_argument("--author", action="append", metavar="NAME", help="a full name; once for each, in their order")
    parser.add_argument("--year", type=int, help="year of publication")
    parser.add_argument("--venue", help="where it was published")
    parser.add_argument("--url", help="address of the work, where it has no identifier")
    parser.add_argument("--id", metavar="ID", help="id of the record (default: from the title)")
    method = parser.add_mutually_exclusive_group()
    method.add_argument("--family", help="folder of the method below reference_impls")
    method.add_argument("--no-method", action="store_true", help="the record alone")
    parser.add_argument("--anyway", action="store_true", help="the work is another one than the record it is like")
    parser.add_argument("--offline", action="store_true", help="ask no registry; use what they answered before")
    parser.add_argument("--dry-run", action="store_true", help="write nothing, show what would be written")
    add_common(parser, FORMATS, "text")


def run(
    place: Place,
    work: str | None = None,
    *,
    by_hand: Work | None = None,
    bibtex: str | None = None,
    name: str | None = None,
    family: str | None = None,
    with_method: bool = True,
    anyway: bool = False,
    dry_run: bool = False,
    client: Client | None = None,
) -> Begun:
    """Begin a paper.

    Args:
        place: the library.
        work: an identifier, an address of one, or the id of a record.
        by_hand: what is known of the work; it counts more than anything else.
        bibtex: a file with one entry.
        name: id of the record; default: from the title.
        family: folder of the method; default: the one that the title speaks of.
        with_method: whether to begin the method.
        anyway: whether to go on where the work may be that of a record.
        dry_run: whether nothing is written.
        client: asks the registries; default: with a cache in the library's cache folder.

    Raises:
        UsageError: something is asked for that cannot be.
        RefusedError: the work is known or nobody knows it, or a file is in the way.
        FaultsError: the BibTeX entry is broken.
        OSError: a file cannot be read or written.
    """
    from qkb.imports.work import Work  # noqa: PLC0415
    from qkb.records.load import record_files  # noqa: PLC0415 (pydantic)
    from qkb.scaffold import asked, families, plan  # noqa: PLC0415 (requests, too)

    if place.bundled:
        raise UsageError("this is the installed copy; name a checkout with --root DIR")
    by_hand = by_hand or Work()
    if work is None and bibtex is None and not by_hand.title:
        raise UsageError("name a work: an arXiv id, a DOI, openreview:ID, --bibtex FILE, or --title and what is known")
    _check(by_hand)
    if family is not None:
        families.checked(family, place.root)
    known = {file.rpartition("/")[2].rpartition(".")[0] for file in record_files(place)[0]}
    if work in known:
        if bibtex is not None or name is not None or by_hand != Work() or not with_method:
            raise UsageError(f"{work} is a record: only --family goes with it")
        drawn = plan.for_method(place, work, family)
    else:
        given = asked.identifier(work) if work is not None else Work()
        if bibtex is not None:
            given = _joined(given, asked.entry(bibtex))
        given = _joined(by_hand, given)
        drawn = plan.for_work(
            place, given, client or client_of(place), name=name, family=family, with_method=with_method, anyway=anyway
        )
    if dry_run:
        return Begun(drawn, (), drawn.kept)
    written, there = plan.write(drawn, place)
    return Begun(drawn, tuple(written), (*drawn.kept, *there))


def client_of(place: Place, *, offline: bool = False) -> Client:
    """Return what asks the registries, less patient than for a whole library."""
    from qkb.metadata.http import Client  # noqa: PLC0415 (requests)

    return Client(cache=place.cache(), timeout=(5.0, 15.0), total=30.0, retries=1, offline=offline)


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from qkb.imports.work import Work  # noqa: PLC0415
    from qkb.scaffold.asked import author  # noqa: PLC0415
    from qkb.scaffold.plan import RefusedError  # noqa: PLC0415 (pydantic)

    place = locate(args.root)
    by_hand = Work(
        title=args.title or "",
        authors=tuple(map(author, args.author or ())),
        year=args.year,
        venue=args.venue or "",
        url=args.url or "",
    )
    try:
        begun = run(
            place,
            args.work,
            by_hand=by_hand,
            bibtex=args.bibtex,
            name=args.id,
            family=args.family,
            with_method=not args.no_method,
            anyway=args.anyway,
            dry_run=args.dry_run,
            client=client_of(place, offline=args.offline),
        )
    except RefusedError as error:
        print(visible(f"qkb new: {error}"), file=sys.stderr)
        return 1
    write(render(begun, args.format), args.output)
    if not args.quiet:
        for note in begun.plan.notes:
            print(visible(f"qkb new: {note}"), file=sys.stderr)
        print(f"qkb new: {summary(begun)}", file=sys.stderr)
    return 0


def render(begun: Begun, form: str) -> str:
    """Return what was done and what is left to do, as `text` or `json`."""
    plan = begun.plan
    if form == "json":
        data = {
            "id": plan.id,
            "files": [path for path, _ in plan.files],
            "written": begun.written,
            "kept": begun.kept,
            "missing": plan.missing,
            "sources": plan.sources,
            "notes": plan.notes,
            "steps": plan.steps,
        }
        return json.dumps(data, ensure_ascii=False, indent=2) + "\n"
    lines = [f"wrote {path}" for path in begun.written]
    if not begun.written:
        for path, text in plan.files:
            shown = text.splitlines() if path.startswith("papers/") else ()
            lines += [f"would write {path}", *(f"    {line}".rstrip() for line in shown)]
    lines += [f"kept {path}" for path in begun.kept]
    lines += ["", "Left to do:", *numbered(plan.steps)]
    return "".join(f"{visible(line)}\n" for line in lines)


def numbered(steps: Sequence[str]) -> list[str]:
    """Return steps with their numbers.

    >>> numbered(["first", "second"])
    [' 1. first', ' 2. second']
    """
    return [f"{number:2}. {step}" for number, step in enumerate(steps, 1)]


def summary(begun: Begun) -> str:
    """Return what was done in a sentence."""
    steps = count(len(begun.plan.steps), "step")
    if not begun.written:
        return f"nothing is written; without --dry-run, {count(len(begun.plan.files), 'file')} would be"
    return f"{begun.plan.id}: {count(len(begun.written), 'file')} written, {steps} left"


def _joined(first: Work, second: Work) -> Work:
    """Return a work with what it lacks taken from another description of it."""
    lacking = {name: value for name, value in vars(second).items() if not getattr(first, name)}
    return replace(first, **lacking)


def _check(by_hand: Work) -> None:
    from qkb.imports.identifiers import plain_address  # noqa: PLC0415

    if by_hand.year is not None and not FIRST_YEAR <= by_hand.year <= LAST_YEAR:
        raise UsageError(f"--year {by_hand.year}: write a year from {FIRST_YEAR} to {LAST_YEAR}")
    if by_hand.url and plain_address(by_hand.url) != by_hand.url:
        raise UsageError(f"--url {by_hand.url}: write an address that begins with http:// or https://")
