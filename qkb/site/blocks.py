"""Survey tables inside a file that people write: the text between two markers is made, the rest is theirs.

    <!-- qkb tables --by year -->
    (made)
    <!-- /qkb -->

Markers stand on lines of their own; inside a fenced block of code they are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qkb.records.faults import Fault, FaultsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BEGIN = re.compile(r" {0,3}<!--\s*qkb tables\b(?P<options>.*?)-->\s*")
OPTIONS = re.compile(r"\s*(?:--by[ =](?P<by>\w+))?\s*")
END = re.compile(r" {0,3}<!--\s*/qkb\s*-->\s*")
FENCE = re.compile(r" {0,3}(?P<marks>`{3,}|~{3,})(?P<rest>.*)")


@dataclass(frozen=True)
class Block:
    """A place for tables.

    Args:
        by: what makes a section of them.
        begin: index of the line with the first marker.
        end: index of the line with the second one.
    """

    by: str
    begin: int
    end: int


def find(lines: list[str], file: str, groupings: tuple[str, ...]) -> list[Block]:
    """Return the blocks of a file, given in lines.

    Raises:
        FaultsError: a marker is wrong or has no counterpart, or there is none at all.
    """
    finder = _Finder(file, groupings)
    for index in _outside_code(lines):
        finder.line(index, lines[index])
    return finder.done()


def _outside_code(lines: list[str]) -> Iterator[int]:
    """Yield the indices of the lines that are in no fenced block of code; a block of ours hides the fences in it."""
    fence = ""
    inside = False
    for index, line in enumerate(lines):
        mark = FENCE.fullmatch(line)
        if fence:
            if mark and mark["marks"].startswith(fence) and not mark["rest"].strip():
                fence = ""
        elif mark and not inside:
            fence = mark["marks"]
        else:
            inside = bool(BEGIN.fullmatch(line)) or (inside and not END.fullmatch(line))
            yield index


@dataclass
class _Finder:
    """Collects blocks, and what is wrong with their markers."""

    file: str
    groupings: tuple[str, ...]
    blocks: list[Block] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    opened: tuple[int, str] | None = None

    def line(self, index: int, line: str) -> None:
        begin = BEGIN.fullmatch(line)
        if begin:
            self.close("has no end before the next block: add <!-- /qkb --> below it")
            options = OPTIONS.fullmatch(begin["options"])
            by = (options["by"] or "year") if options else ""
            if by not in self.groupings:
                self.fault(index, f"write --by and one of {', '.join(self.groupings)}, and nothing else")
            self.opened = (index, by)
        elif END.fullmatch(line):
            if self.opened is None:
                self.fault(index, "ends a block that does not begin: remove this line")
            else:
                self.blocks.append(Block(self.opened[1], self.opened[0], index))
            self.opened = None

    def close(self, message: str) -> None:
        if self.opened is not None:
            self.fault(self.opened[0], message)

    def done(self) -> list[Block]:
        self.close("has no end: add <!-- /qkb --> below it")
        if not self.blocks and not self.faults:
            message = "there is no block: write <!-- qkb tables --by year --> and <!-- /qkb --> on lines of their own"
            self.fault(0, message)
        if self.faults:
            raise FaultsError(self.faults)
        return self.blocks

    def fault(self, index: int, message: str) -> None:
        self.faults.append(_fault(self.file, index, message))


def renewed(text: str, file: str, groupings: tuple[str, ...], make: Callable[[str], str]) -> tuple[str, list[Fault]]:
    """Return a text with its blocks made anew, and a fault for each block that was out of date.

    Args:
        text: the text of the file; its line ends are kept.
        file: its name in faults.
        groupings: what tables can be made by.
        make: returns the tables by a grouping.

    Raises:
        FaultsError: see `find`.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(newline)
    stale: list[Fault] = []
    for block in reversed(find(lines, file, groupings)):
        inner = make(block.by).strip("\n").split("\n")
        if [line for line in lines[block.begin + 1 : block.end] if line] != [line for line in inner if line]:
            stale.insert(0, _fault(file, block.begin, "the tables are out of date: renew them with qkb tables --write"))
            lines[block.begin + 1 : block.end] = ["", *inner, ""]
    return newline.join(lines), stale


def _fault(file: str, index: int, message: str) -> Fault:
    return Fault(file, index + 1, "", message)
