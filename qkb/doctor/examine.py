"""Runs the checks, and mends what can be mended."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qkb.doctor import house, people, works
from qkb.doctor.finding import Finding, Library
from qkb.errors import UsageError, nearest
from qkb.options import write
from qkb.records.faults import Fault, FaultsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from qkb.paths import Place

# By name; what mends itself first stands first, so that later checks see the mended library.
CHECKS: dict[str, Callable[[Library], Iterator[Finding]]] = {
    "faults": house.faults,
    "duplicates": works.duplicates,
    "authors": people.authors,
    "ids": works.ids,
    "lists": works.lists,
    "orphans": house.orphaned,
    "results": house.results,
    "vocabulary": house.vocabulary,
    "schema": house.schema,
    "layout": house.layout,
    "reference": house.reference,
}


@dataclass(frozen=True)
class Examination:
    """What was found.

    Args:
        findings: what is still to be done, sorted.
        fixed: what was mended.
        refused: why fixes could not be made.
        records: how many records were looked at.
    """

    findings: tuple[Finding, ...]
    fixed: tuple[Finding, ...]
    refused: tuple[Fault, ...]
    records: int


def chosen(names: Iterable[str]) -> list[str]:
    """Return the names of the checks to run, in their order; all where none is named.

    Raises:
        UsageError: there is no such check.
    """
    asked = list(names)
    for name in asked:
        if name not in CHECKS:
            raise UsageError(f"there is no check {name!r}. {nearest(name, CHECKS)} There are {', '.join(CHECKS)}.")
    return [name for name in CHECKS if name in asked] if asked else list(CHECKS)


def examine(place: Place, checks: Iterable[str] = (), *, lists: Sequence[str] = (), fix: bool = False) -> Examination:
    """Run checks over a library; with `fix`, mend what can be mended and look again.

    Raises:
        UsageError: there is no such check, a list is needed, or the library is the installed copy.
        FaultsError, OSError: a reading list cannot be read.
    """
    names = chosen(checks)
    if "lists" in names and not lists and list(checks):
        raise UsageError("the check 'lists' needs a reading list to compare with: --list FILE")
    if fix and place.bundled:
        raise UsageError("--fix: this is the installed copy; name a checkout with --root DIR")
    library = Library(place, lists)
    found = _found(library, names)
    fixed: list[Finding] = []
    refused: list[Fault] = []
    if fix:
        for finding in (finding for finding in found if finding.fix is not None):
            try:
                if mend(place, finding):
                    fixed.append(finding)
            except FaultsError as error:
                refused += error.faults
            except OSError as error:
                message = f"the file cannot be written: {error.strerror or error}"
                refused.append(Fault(finding.file, 1, finding.path, message))
        if fixed:
            library = Library(place, lists)
            found = _found(library, names)
    left = set(found)
    return Examination(
        tuple(found),
        tuple(sorted(finding for finding in fixed if finding not in left)),
        tuple(sorted(set(refused))),
        len(library.papers.files),
    )


def _found(library: Library, names: Iterable[str]) -> list[Finding]:
    return sorted({finding for name in names for finding in CHECKS[name](library)})


def mend(place: Place, finding: Finding) -> bool:
    """Make the change of a finding; return whether the file is another one now.

    The file is read anew, since an earlier fix may have changed it, and is replaced whole or not at all.

    Raises:
        FaultsError: it cannot be changed without loss.
        OSError: it cannot be read or written.
    """
    if finding.fix is None:
        return False
    target = place.root / finding.fix.file
    if os.path.islink(target):  # noqa: PTH114 (a link could lead anywhere)
        raise FaultsError([Fault(finding.file, 1, "", "this is a link: put a plain file here")])
    try:
        old = target.read_bytes()
    except FileNotFoundError:
        old = b""
    new = finding.fix.change(old)
    if new.encode() == old:
        return False
    write(new, str(target))
    return True
