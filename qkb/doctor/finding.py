"""What a check finds, what mends it, and what the checks look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from qkb.implementations import CannotRunError, Methods
from qkb.records.faults import Fault
from qkb.records.load import Papers, load_all
from qkb.records.yaml_lines import line_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qkb.paths import Place


@dataclass(frozen=True)
class Fix:
    """A change that mends a finding.

    Args:
        says: what it does, as an order: `move it to links.arxiv`.
        file: the file that it rewrites, relative to the root.
        change: makes the new text from the file's bytes (empty where there is no file); raises FaultsError where that
            cannot be done without loss.
    """

    says: str
    file: str
    change: Callable[[bytes], str]


@dataclass(frozen=True, order=True)
class Finding:
    """Something worth a look, at the place where it can be put right.

    Args:
        file: path relative to the root, or as the user named it.
        line: counted from 1.
        path: dotted path of the value; empty for the whole file.
        message: what it is and what to do about it.
        check: the name of the check.
        fix: what mends it, where that is safe.
    """

    file: str
    line: int
    path: str
    message: str
    check: str
    fix: Fix | None = field(default=None, compare=False)

    def __str__(self) -> str:
        repair = f"; --fix will {self.fix.says}" if self.fix else ""
        return f"{Fault(self.file, self.line, self.path, self.message)}{repair} ({self.check})"


@dataclass(frozen=True)
class Library:
    """What the checks look at.

    Args:
        place: the library.
        lists: reading lists, files in Markdown, to compare with it.
    """

    place: Place
    lists: Sequence[str] = ()

    @cached_property
    def papers(self) -> Papers:
        """Records, vocabulary and faults; records with faults of their own are not among the records."""
        return load_all(self.place)

    @cached_property
    def methods(self) -> Methods | None:
        """The implementations of this very library; None where it has none."""
        if self.place.bundled or not (self.place.root / "reference_impls" / "kit").is_dir():
            return None
        try:
            return Methods.of(self.place)
        except CannotRunError:
            return None

    def of_record(self, check: str, name: str, path: str, message: str, fix: Fix | None = None) -> Finding:
        """Return a finding on a value of a record."""
        papers = self.papers
        return Finding(papers.files[name], line_of(papers.lines[name], path), path, message, check, fix)

    @staticmethod
    def of_fault(check: str, fault: Fault, fix: Fix | None = None) -> Finding:
        """Return a fault as a finding."""
        return Finding(fault.file, fault.line, fault.path, fault.message, check, fix)
