"""Look for what no rule forbids and a maintainer wants to know; mend what can be mended safely.

Without CHECKs all are run: faults (those of qkb validate), duplicates (two records that may be one work), authors (one
person under several names), ids (identifiers that hide in addresses), lists (rows of a reading list that no record
covers; only with --list), orphans (implementations, tests and results without counterpart), results (accepted results
that state other claims than the method's file), vocabulary (terms that nobody uses), schema, layout and reference
(generated files that are out of date, records that qkb fmt would change). --explain says more of one check.

Each finding is one line, FILE:LINE: PATH: what it is; where a fix is safe, what --fix will do. A fix replaces a file
whole or not at all, keeps comments, and is left undone where something would be lost. A finding is no fault: several
need a person to decide, and some are right as they are.

Exit codes: 0 nothing found, or all of it mended; 1 something is left; 2 wrong usage.

Examples:
  qkb doctor
  qkb doctor ids layout --fix
  qkb doctor lists --list README.md
  qkb doctor --explain duplicates
  qkb doctor --format json | jq '.findings[].check'
"""

from __future__ import annotations

import inspect
import json
import sys
from typing import TYPE_CHECKING, Any

from qkb.commands.validate import count
from qkb.options import add_common, write
from qkb.paths import locate
from qkb.records.faults import visible
from qkb.text import plain_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from qkb.doctor.examine import Examination
    from qkb.doctor.finding import Finding
    from qkb.paths import Place

FORMATS = ("text", "json")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="a check to run (default: all)")
    parser.add_argument("--fix", action="store_true", help="mend what can be mended safely (default: write nothing)")
    parser.add_argument(
        "--list", dest="lists", action="append", default=[], metavar="FILE",
        help="a reading list whose rows should all be covered; can be given again",
    )  # fmt: skip
    parser.add_argument("--explain", metavar="CHECK", help="say what a check looks at and what its fix does")
    add_common(parser, FORMATS, "text")


def run(place: Place, checks: Iterable[str] = (), *, lists: Sequence[str] = (), fix: bool = False) -> Examination:
    """Examine a library; see `qkb.doctor.examine.examine`."""
    from qkb.doctor.examine import examine  # noqa: PLC0415 (pydantic, and the readers of lists)

    return examine(place, checks, lists=lists, fix=fix)


def explain(name: str) -> str:
    """Return what a check looks at.

    Raises:
        UsageError: there is no such check.
    """
    from qkb.doctor.examine import CHECKS, chosen  # noqa: PLC0415

    (name,) = chosen([name])
    return f"{name}: {inspect.getdoc(CHECKS[name])}\n"


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    if args.explain is not None:
        write(explain(args.explain), args.output)
        return 0
    found = run(locate(args.root), args.checks, lists=args.lists, fix=args.fix)
    write(render(found, args.format), args.output)
    for fault in found.refused:
        print(visible(f"qkb doctor: not mended: {fault}"), file=sys.stderr)
    if not args.quiet:
        for finding in found.fixed:
            done = finding.fix.says if finding.fix is not None else ""
            print(
                visible(f"qkb doctor: {finding.file}: {finding.path or finding.check}: mended: {done}"), file=sys.stderr
            )
        print(f"qkb doctor: {summary(found)}", file=sys.stderr)
    return 1 if found.findings else 0


def summary(found: Examination) -> str:
    """Return an examination in one line."""
    told = f"{count(found.records, 'record')}, {count(len(found.findings), 'finding')}"
    able = sum(finding.fix is not None for finding in found.findings)
    if found.fixed:
        told += f"; {len(found.fixed)} mended"
    return f"{told}; --fix can mend {able}" if able and not found.refused else told


def render(found: Examination, form: str) -> str:
    """Return an examination as text or JSON."""
    if form == "json":
        told = {"findings": [_plain(one) for one in found.findings], "fixed": [_plain(one) for one in found.fixed]}
        told["refused"] = [{"file": one.file, "path": one.path, "message": one.message} for one in found.refused]
        return plain_json(json.dumps({**told, "records": found.records}, ensure_ascii=False, indent=2)) + "\n"
    return "".join(f"{finding}\n" for finding in found.findings)


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "file": finding.file,
        "line": finding.line,
        "path": finding.path,
        "message": finding.message,
        "fix": finding.fix.says if finding.fix is not None else None,
    }
