"""Takes a Markdown file apart into headings, items of lists, rows of tables and paragraphs, each with its line.

Reading lists are written by hand and shown by lenient programs, so this is lenient, too: a heading without a space
after its marks, a table right below a paragraph, an item that goes on without indentation, tables in HTML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADING = re.compile(r"\s{0,3}(#{1,6})\s*(\S.*?)\s*#*\s*$")
# A line that is emphasised from its first to its last word serves as a heading.
EMPHASISED = re.compile(r"\s*(\*{1,3}|_{1,3})(?!\s)([^*_\[\]]{1,80}?)(?<!\s)\1\s*:?\s*$")
UNDERLINE = re.compile(r"\s{0,3}(=+|-+)\s*$")
RULE = re.compile(r"\s{0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$")
ITEM = re.compile(
    r"(\s*)(?:[-*+•◦▪]\s+|[-*+](?=\[)|\d{1,4}[.)]\s+|\[\d{1,4}\]:?\s+(?!\())(?:[-*+]\s+)?(?:\[[ xX]\]\s+)?(.*)$"
)
BETWEEN = re.compile(r"\s*\|?(?:\s*:?-+:?\s*\|)*\s*:?-+:?\s*\|?\s*$")
PIPE = re.compile(r"(?<!\\)\|")
FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
PRE = re.compile(r"<pre\b.*?(?:</pre>|\Z)", re.DOTALL | re.IGNORECASE)
TABLE = re.compile(r"<table\b.*?(?:</table>|\Z)", re.DOTALL | re.IGNORECASE)
TABLE_ROW = re.compile(r"<tr\b[^>]*>(.*?)(?=</tr>|<tr\b|\Z)", re.DOTALL | re.IGNORECASE)
TABLE_CELL = re.compile(r"<(t[hd])\b[^>]*>(.*?)(?=</t[hd]>|<t[hdr]\b|\Z)", re.DOTALL | re.IGNORECASE)
DEFINITION = re.compile(r"\s{0,3}\[([^\[\]]+)\]:\s+<?(\S+?)>?(?:\s+[\"'(].*)?$")
BLOCK_TAG = re.compile(
    r"\s*</?(?:details|summary|div|p|center|ul|ol|li|h\d|section|figure|br|hr)\b[^>]*>\s*$", re.IGNORECASE
)
EMPHASISED_LEVEL = 7  # below every heading with marks


@dataclass(frozen=True)
class Block:
    """A part of a file.

    Args:
        kind: what it is; `none` is what can be no work, with the reason in `text`.
        line: line of the file, counted from 1.
        text: its text, on one line.
        level: level of a heading, indentation of an item.
        header: cells of the header, for a row of a table.
        cells: cells of the row.
    """

    kind: Literal["heading", "item", "row", "paragraph", "none"]
    line: int
    text: str
    level: int = 0
    header: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()


def blocks(text: str) -> list[Block]:
    """Return the parts of a file in its order."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found: list[Block] = []
    for pattern, make in ((COMMENT, _comment), (PRE, _code), (TABLE, _html_rows)):
        for match in pattern.finditer(text):
            found += make(match[0], text.count("\n", 0, match.start()) + 1)
        text = pattern.sub(lambda match: "\n" * match[0].count("\n"), text)
    found += _Cutter(text.split("\n")).run()
    return sorted(found, key=lambda block: block.line)


def definitions(text: str) -> dict[str, str]:
    """Return the addresses that a file defines by name, `[name]: address`."""
    found = (DEFINITION.match(line) for line in text.split("\n"))
    return {match[1].casefold(): match[2] for match in found if match}


def cells_of(line: str) -> tuple[str, ...]:
    r"""Return the cells of a row.

    >>> cells_of(r"| a | b \| c | |")
    ('a', 'b | c', '')
    """
    bare = line.strip().removeprefix("|")
    if bare.endswith("|") and not bare.endswith("\\|"):
        bare = bare[:-1]
    return tuple(cell.replace("\\|", "|").strip() for cell in PIPE.split(bare))


def _comment(_: str, line: int) -> Iterator[Block]:
    yield Block("none", line, "a comment")


def _code(_: str, line: int) -> Iterator[Block]:
    yield Block("none", line, "code")


def _html_rows(text: str, line: int) -> Iterator[Block]:
    """Yield the rows of a table in HTML."""
    header: tuple[str, ...] = ()
    for row in TABLE_ROW.finditer(text):
        found = TABLE_CELL.findall(row[1])
        cells = tuple(" ".join(cell.split()) for _, cell in found)
        at = line + text.count("\n", 0, row.start())
        if found and not header and all(tag.lower() == "th" for tag, _ in found):
            header = cells
            yield Block("none", at, "the header of a table")
        elif cells:
            yield Block("row", at, " | ".join(cells), header=header, cells=cells)


class _Cutter:
    """Cuts the lines of a file into blocks."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.found: list[Block] = []
        self.open: list[str] = []  # lines of the item or paragraph that may go on
        self.begin = 0
        self.indent = -1  # of the open item; -1 for a paragraph

    def run(self) -> list[Block]:
        at = 0
        while at < len(self.lines):
            at = self.one(at)
        self.close()
        return self.found

    def close(self) -> None:
        """Put the item or paragraph that is open among the blocks."""
        if self.open:
            text = " ".join(line.strip() for line in self.open)
            kind: Literal["item", "paragraph"] = "item" if self.indent >= 0 else "paragraph"
            self.found.append(Block(kind, self.begin, text, max(self.indent, 0)))
            self.open, self.indent = [], -1

    def one(self, at: int) -> int:
        """Read what begins at a line; return the line after it."""
        line = re.sub(r"^\s{0,3}(?:>\s?)+", "", self.lines[at]).expandtabs(4)
        fence = FENCE.match(line)
        heading = HEADING.match(line) or EMPHASISED.match(line)
        if fence:
            self.close()
            return self.fenced(at, fence[1])
        if heading and (heading[1].startswith("#") or not self.open):
            self.close()
            level = len(heading[1]) if heading[1].startswith("#") else EMPHASISED_LEVEL
            self.found.append(Block("heading", at + 1, heading[2], level))
        elif self.heads_table(at, line):
            self.close()
            return self.table(at)
        elif self.open and self.indent < 0 and len(self.open) == 1 and UNDERLINE.match(line):
            self.found.append(Block("heading", self.begin, self.open.pop().strip(), 1 if "=" in line else 2))
        elif not line.strip() or any(pattern.match(line) for pattern in (BLOCK_TAG, RULE, DEFINITION)):
            self.close()
        else:
            self.text(at, line)
        return at + 1

    def heads_table(self, at: int, line: str) -> bool:
        """Tell whether a line is the header of a table: one with bars, above a line of dashes."""
        following = self.lines[at + 1] if at + 1 < len(self.lines) else ""
        return "|" in line and "|" in following and "-" in following and BETWEEN.match(following) is not None

    def text(self, at: int, line: str) -> None:
        """Begin an item or a paragraph, or go on with the one that is open."""
        item = ITEM.match(line)
        if item:
            self.close()
            self.open, self.begin, self.indent = [item[2]], at + 1, len(item[1])
        elif self.open:
            self.open.append(line)
        else:
            self.open, self.begin = [line], at + 1

    def fenced(self, at: int, fence: str) -> int:
        """Pass over a block of code."""
        self.found.append(Block("none", at + 1, "code"))
        at += 1
        while at < len(self.lines) and not self.lines[at].strip().startswith(fence):
            at += 1
        return at + 1

    def table(self, at: int) -> int:
        """Read a table."""
        header = cells_of(self.lines[at])
        self.found.append(Block("none", at + 1, "the header of a table"))
        at += 2
        while at < len(self.lines) and "|" in self.lines[at]:
            cells = cells_of(self.lines[at])
            self.found.append(Block("row", at + 1, self.lines[at].strip(), header=header, cells=cells))
            at += 1
        return at
