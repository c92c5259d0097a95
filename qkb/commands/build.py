"""Build the site from records and accepted results.

The records and the accepted measurements become Markdown pages in `build/docs`, beside the hand-written ones; MkDocs
makes the HTML in `build/site`, and Pagefind its search index. Pages that did not change are not written, pages of
records that are gone are removed, and a site that is up to date is left alone. Neither torch nor a network is needed.
Exit codes: 0 built, 1 a record is at fault or the site cannot be made.

Examples:
  qkb build
  qkb build --pages-only
  qkb build --output ../survey
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from qkb.implementations import CannotRunError
from qkb.options import add_root
from qkb.paths import locate

if TYPE_CHECKING:
    import argparse

    from qkb.site.build import Report


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--pages-only", "--no-mkdocs", action="store_true", help="stop after the Markdown pages")
    parser.add_argument("--output", metavar="DIR", type=Path, help="build folder (default: build, in the checkout)")
    add_root(parser)
    parser.add_argument("--quiet", action="store_true", help="say nothing when all is well")


def run(root: str | None = None, output: Path | None = None, *, pages_only: bool = False) -> Report:
    """Build the site; `qkb.site.build.build` says what is raised."""
    from qkb.site.build import build  # noqa: PLC0415 (Jinja2 and pydantic are loaded only when a site is built)

    return build(locate(root), output, pages_only=pages_only)


def summary(report: Report, seconds: float) -> str:
    """Say in one line what a build did."""
    changes = report.changes
    pages = f"{len(changes.written)} of {report.files} files written, {len(changes.removed)} removed"
    site = {None: "", True: f"; site made in {report.folder / 'site'}", False: "; the site was up to date"}[report.site]
    return f"{report.records} records: {pages} in {report.folder / 'docs'}{site} ({seconds:.1f} s)"


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from qkb.site.tree import BuildError  # noqa: PLC0415 (no other command needs it)

    start = time.perf_counter()
    try:
        report = run(args.root, args.output, pages_only=args.pages_only)
    except (CannotRunError, BuildError, ValueError) as error:
        print(f"qkb build: {error}", file=sys.stderr)
        return 1
    if not args.quiet:
        print(summary(report, time.perf_counter() - start), file=sys.stderr)
    return 0
