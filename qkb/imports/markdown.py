"""Reads reading lists in Markdown: items of lists, rows of tables, lines with a title and a link to the paper.

Not every item is meant to be a work. Notes below a work, tables of contents, bare addresses and the items of sections
such as *How to contribute* are passed over, each with the reason; what is left and cannot be read is told as such.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qkb.imports.citation import is_venue, tidy_venue, without_year, year_in
from qkb.imports.markdown_blocks import Block, blocks, definitions
from qkb.imports.markdown_inline import plain
from qkb.imports.markdown_line import NOTHING, Line, read_line
from qkb.imports.people import in_prose
from qkb.imports.work import Reading, Row, Work

if TYPE_CHECKING:
    from collections.abc import Mapping

# Sections whose items are no works, unless they have an identifier: the words that their headings begin with.
ASIDE = re.compile(
    r"(?:\W|\d)*(?:table of )?(?:contents?|toc|overview|outline|prerequisites?|learning objectives?|objectives?|goals?|"
    r"how to|participants?|members?|schedule|agenda|references?|contribut\w*|license|licence|citations?|cite|citing|"
    r"acknowledge?ments?|credits?|contact|about|news|updates?|changelog|change log|what'?s new|announcements?|"
    r"statistics|star history|related (?:repos|repositor|lists|awesome)\w*|(?:other )?awesome (?:lists?|repos\w*)|"
    r"our team|team|maintainers?|authors?|keywords?|todo|to do|introduction|motivation|notes?|usage|install\w*|legend|"
    r"index|getting started|features?|rules|people|researchers|videos?|talks?)\b|(?:top )?venues?$",
    re.IGNORECASE,
)
COLUMNS = {
    "title": r"(?:paper )?(?:title|name)s?\b.*|papers?(?: name| title)?|works?|publications?|articles?|methods?|"
    r"标题|论文.*|논문",
    "authors": r"authors?|first authors?|作者",
    "year": r"years?|dates?|time|pub(?:lication|lished)? ?date|when|年份|日期",
    "venue": r"venues?|conf(?:erence)?s?(?:/journals?)?|journals?|pub(?:lication|lished|lisher)?s?|where|"
    r"publish(?:ed)?(?: in)?|source|会议|来源",
    "code": r"(?:official |open[- ]source )?(?:code|github|repo(?:sitory)?|implementation|源码|代码)s?\b.*|from",
    "link": r"(?:paper )?(?:links?|urls?|pdfs?|arxiv|doi|papers?)",
    "tags": r"tags?|keywords?|types?|categor(?:y|ies)|topics?|labels?|标签",
}
# Headers that name what is no paper, but may be a work.
INSTEAD = re.compile(
    r"codes?|tools?|projects?|docs?|documents?|softwares?|librar(?:y|ies)|repos?|frameworks?", re.IGNORECASE
)
EXPLANATION = re.compile(r"[\W_]*(?:keywords?|statistics|legend|tags)\W*:", re.IGNORECASE)
NUMBER = re.compile(r"#|no\.?|nr\.?|id|index|序号|s\.?no\.?|", re.IGNORECASE)
FEW = 10  # rows that tell how a list is made
NOTE_FILE = re.compile(r"\S+(?: \S+){0,6}\.(?:md|markdown|ipynb|txt)", re.IGNORECASE)


@dataclass
class _Section:
    """The heading that a row stands under, with what it says about rows."""

    level: int = 0
    year: int | None = None
    venue: str = ""
    aside: str = ""


@dataclass
class _Reader:
    """Reads the blocks of a file in their order."""

    addresses: Mapping[str, str]
    reading: Reading = field(default_factory=Reading)
    sections: list[_Section] = field(default_factory=lambda: [_Section()])
    above: list[tuple[int, int]] = field(default_factory=list)  # indentation and line of the works above an item
    sentence: int = 0  # the line above a list that ends with a colon, where it is a sentence

    def run(self, found: list[Block]) -> Reading:
        for number, block in enumerate(found):
            if block.kind != "item":
                self.above, self.sentence = [], 0
            if block.kind == "none":
                self.reading.skip(block.line, block.text, block.text)
            elif block.kind == "heading":
                self.heading(block)
            elif block.kind == "row":
                self.row(block)
            elif block.kind == "paragraph":
                self.paragraph(block)
            else:
                following = found[number + 1] if number + 1 < len(found) else None
                parent = following is not None and following.kind == "item" and following.level > block.level
                self.item(block, parent=parent)
        self.reading.rows = _single_authors(self.reading.rows)
        return self.reading

    def heading(self, block: Block) -> None:
        text = plain(read_line(block.text, self.addresses).flow or block.text)
        while len(self.sections) > 1 and self.sections[-1].level >= block.level:
            self.sections.pop()
        section = replace(self.sections[-1], level=block.level)
        section.aside = (
            text if ASIDE.match(text) and len(text.split()) < 6 else ("" if block.level < 7 else section.aside)
        )
        years = {year for word in re.findall(r"(?:19|20)\d\d", text) if (year := year_in(word))}
        rest = without_year(text)
        if len(years) == 1 and (len(rest.split()) < 3 or is_venue(rest)):
            section.year = years.pop()
            section.venue = rest if is_venue(rest) else ""
        elif len(text.split()) < 4 and is_venue(text):
            section.venue = text
        self.sections.append(section)
        self.reading.skip(block.line, block.text, "a heading")

    def item(self, block: Block, *, parent: bool) -> None:
        self.above = [(level, line) for level, line in self.above if level < block.level]
        text = block.text
        if self.above:
            self.reading.skip(block.line, text, f"a note on line {self.above[-1][1]}")
            return
        line = read_line(text, self.addresses)
        why = self.no_work(line, text, parent=parent)
        if why:
            self.reading.skip(block.line, text, why)
            return
        if self.add(block, line):
            self.above.append((block.level, block.line))

    def no_work(self, line: Line, text: str, *, parent: bool) -> str:
        """Return why an item is not meant to be a work; an empty text where it is."""
        identified = any(work.identifiers for work in line.works)
        aside = self.sections[-1].aside
        short = parent and len(line.flow.split()) < 5 and not any(work.code for work in line.works)
        reasons = (
            (not re.search(r"\w", text), "an empty item"),
            (line.only_within, "a link within the file"),
            (line.only_address and not identified, "an address without a title"),
            (aside and not identified, f"in the section {aside!r}, which is no list of works"),
            (not line.evidence and (short or line.flow.endswith(":")), "the name of what follows"),
            (EXPLANATION.match(text), "an explanation"),
            (self.sentence and self.is_point(line), f"a point of the text on line {self.sentence}"),
        )
        return next((why for holds, why in reasons if holds), "")

    def is_point(self, line: Line) -> bool:
        """Tell whether an item below a sentence goes on with it, rather than being a title."""
        said = line.evidence or any(work.url or work.code or work.authors or work.year for work in line.works)
        return not said and (line.flow[:1].islower() or len(line.flow.split()) < 4)

    def add(self, block: Block, line: Line) -> bool:
        """Add the works of a line; tell whether there is one."""
        for work in line.works:
            if not work.title or (len(work.title) < 4 and not work.identifiers):
                if work.identifiers:
                    self.reading.add(block.line, block.text, self.completed(work))
                    continue
                self.reading.fail(block.line, block.text, "no title can be read from this")
                return False
            if len(work.title.split()) < 2 and not line.evidence and not work.code:
                self.reading.fail(block.line, block.text, "one word is no title")
                return False
            if len(work.title) > 400:
                self.reading.fail(block.line, block.text, "this is too long for a title")
                return False
            self.reading.add(block.line, block.text, self.completed(work))
        return bool(line.works)

    def completed(self, work: Work) -> Work:
        """Return a work with the year and venue of its section, where it has none."""
        section = self.sections[-1]
        return replace(work, year=work.year or section.year, venue=work.venue or section.venue)

    def paragraph(self, block: Block) -> None:
        """Take a line outside of lists for a work where it begins with a title and has a link to the paper."""
        if re.match(r"\s*(?:\*\*|__|[“\"\[])", block.text) and not self.sections[-1].aside:
            line = read_line(block.text, self.addresses)
            work = line.works[0] if len(line.works) == 1 else Work()
            if work.identifiers and len(work.title.split()) > 2 and len(line.flow) < len(work.title) + 120:
                self.add(block, line)
                return
        if block.text.rstrip().endswith(":") and len(block.text.split()) > 4:
            self.sentence = block.line
        self.reading.skip(block.line, block.text, "text")

    def row(self, block: Block) -> None:
        texts = [plain(cell) for cell in block.cells]
        if not any(re.search(r"\w", text) for text in texts):
            self.reading.skip(block.line, block.text, "an empty row")
            return
        columns = self.columns(block)
        if "title" not in columns:
            self.reading.skip(block.line, block.text, "a table without a column of titles")
            return
        cells = {name: block.cells[place] for name, place in columns.items() if place < len(block.cells)}
        title = cells.get("title", "")
        if NOTE_FILE.fullmatch(plain(title)):
            self.reading.skip(block.line, block.text, "the name of a file with notes, no work")
            return
        line = read_line(title, self.addresses)
        extra = " ".join(cells[name] for name in ("link", "code") if name in cells)
        line.works = [self.with_cells(work, cells, extra) for work in line.works]
        line.evidence = True
        self.add(block, line)

    def columns(self, block: Block) -> dict[str, int]:
        """Return the place of each column by what it is for."""
        columns: dict[str, int] = {}
        headers = [plain(cell).casefold().strip(" :*") for cell in block.header]
        for name, pattern in COLUMNS.items():
            for place, header in enumerate(headers):
                if name not in columns and place not in columns.values() and re.fullmatch(pattern, header):
                    columns[name] = place
        if "title" not in columns:
            first = next((place for place, header in enumerate(headers) if not NUMBER.fullmatch(header)), None)
            if first is not None and INSTEAD.fullmatch(headers[first]):
                columns = {name: place for name, place in columns.items() if place != first} | {"title": first}
                other = next(
                    (place for place, header in enumerate(headers) if header == "from" and place != first), None
                )
                if other is not None:
                    columns["code"] = other
            else:  # a cell that links to a paper is a title
                for place, cell in enumerate(block.cells):
                    works = read_line(cell, self.addresses).works
                    if len(works) == 1 and works[0].identifiers and len(works[0].title.split()) > 2:
                        return {**columns, "title": place}
        return columns

    def with_cells(self, work: Work, cells: Mapping[str, str], extra: str) -> Work:
        """Return a work with what the other cells of its row say."""
        said: dict[str, object] = {}
        year, venue = plain(cells.get("year", "")), plain(cells.get("venue", ""))
        if year_in(year) or year_in(venue):
            said["year"] = year_in(year) or year_in(venue)
        if venue and not NOTHING.fullmatch(venue) and tidy_venue(venue):
            said["venue"] = tidy_venue(venue)
        names, more = in_prose(plain(cells.get("authors", "").replace("<br>", ", ")))
        if names:
            said |= {"authors": names, "more_authors": more}
        tags = re.split(r"\s*[,;/|]\s*|\s{2,}", plain(cells.get("tags", "")))
        said["tags"] = (*work.tags, *(tag for tag in tags if tag and not NOTHING.fullmatch(tag)))
        if extra:
            links = read_line(f"x {extra}", self.addresses).works[0]
            code = [*work.code, *links.code]
            if "link" not in cells and links.url and not links.code:  # the only link of a column of code
                code.append((links.url, ""))
            said["code"] = tuple(dict.fromkeys(code))
            for key in ("arxiv", "doi", "openreview", "pdf", "url"):
                if getattr(links, key) and not getattr(work, key) and (key != "url" or not code):
                    said[key] = getattr(links, key)
        return replace(work, **said)  # type: ignore[arg-type]


def _single_authors(rows: list[Row]) -> list[Row]:
    """Return rows with a name in the place of the venue taken for the only author, where all others name authors there.

    One name between a title and a year may be a person's or a journal's; the rest of the list tells.
    """
    works = [row.work for row in rows if row.work]
    named = [work for work in works if _has_name_as_venue(work)]
    authors = sum(bool(work.authors) and not work.venue for work in works)
    if authors < FEW or 4 * len(named) > authors or sum(bool(work.venue) for work in works) > len(named):
        return rows
    return [
        replace(row, work=replace(row.work, authors=in_prose(row.work.venue)[0], venue=""))
        if row.work and _has_name_as_venue(row.work)
        else row
        for row in rows
    ]


def _has_name_as_venue(work: Work) -> bool:
    return not work.authors and not is_venue(work.venue) and len(in_prose(work.venue)[0]) == 1


def read(text: str) -> Reading:
    """Return the works of a reading list."""
    return _Reader(definitions(text)).run(blocks(text))
