r"""Reads BibTeX and BibLaTeX: strings, cross-references, LaTeX, names; what is broken is told and the rest read.

bibtexparser takes the file apart; values are put together here, because a value may be several parts joined by `#`.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bibtexparser.entrypoint import parse_string
from bibtexparser.model import DuplicateBlockKeyBlock, DuplicateFieldKeyBlock, Entry, ParsingFailedBlock, String

from qkb.formats.latex import decode
from qkb.imports import identifiers
from qkb.imports.people import by_commas
from qkb.imports.work import Reading, Work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bibtexparser.model import Block

KINDS = {
    "inproceedings": "conference", "conference": "conference", "article": "journal", "phdthesis": "thesis",
    "mastersthesis": "thesis", "thesis": "thesis", "techreport": "report", "report": "report", "book": "book",
    "incollection": "book", "inbook": "book", "software": "software", "manual": "report",
}  # fmt: skip
VENUES = (
    "booktitle", "journal", "journaltitle", "school", "institution", "eventtitle", "series", "organization",
    "howpublished", "publisher",
)  # fmt: skip
VOLUMES = frozenset(["proceedings", "mvproceedings", "collection", "mvcollection", "periodical"])
# What an entry does not take over from the volume that it is in.
OWN = frozenset(
    ["title", "subtitle", "booktitle", "author", "editor", "crossref", "xdata", "pages", "doi", "url", "key"]
)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
PARTS = re.compile(r'\s*(?:\{|"|([^\s#"{}]+))')
YEAR = re.compile(r"(?<!\d)(19[4-9]\d|20\d\d)(?!\d)")
PREPRINT = re.compile(r"\b(?:arxiv|corr)\b", re.IGNORECASE)
AND = re.compile(r"\s+and\s+", re.IGNORECASE)
COMMA = re.compile(r",")
KEYWORDS = re.compile(r"\s*[,;]\s*")


def read(text: str) -> Reading:
    """Return the works of a BibTeX file."""
    with _silence():
        blocks = parse_string(text, parse_stack=[]).blocks
    return _Reader(text, blocks).run(blocks)


class _Reader:
    """Goes through the blocks of a file."""

    def __init__(self, text: str, blocks: list[Block]) -> None:
        self.lines = text.split("\n")
        self.entries = {block.key.casefold(): block for block in blocks if isinstance(block, Entry)}
        self.strings = {month: str(number) for number, month in enumerate(MONTHS, 1)}
        self.reading = Reading()

    def run(self, blocks: list[Block]) -> Reading:
        for block in blocks:
            line = (block.start_line or 0) + 1
            start = self.lines[line - 1].strip() if line <= len(self.lines) else ""
            self.one(block, line, start)
        return self.reading

    def one(self, block: Block | None, line: int, start: str) -> None:
        """Read a block."""
        if isinstance(block, DuplicateFieldKeyBlock | DuplicateBlockKeyBlock):
            # A key is only a name: the work is another one, or the library's comparison finds it to be the same. Of a
            # field that is given twice, the first counts.
            self.one(block.ignore_error_block, line, start)
        elif isinstance(block, ParsingFailedBlock):
            self.reading.fail(line, start, f"this entry is broken: {_problem(block)}")
        elif isinstance(block, String):
            self.strings.setdefault(block.key.casefold(), _value(block.value, self.strings))
        elif isinstance(block, Entry):
            self.entry(block, line, start)
        elif block is not None and (block.raw or "").strip():
            self.reading.skip(line, start, "text between entries, or a comment")

    def entry(self, block: Entry, line: int, start: str) -> None:
        """Read an entry."""
        kind = block.entry_type.casefold()
        if kind in VOLUMES:
            self.reading.skip(line, start, "a volume, which holds works")
        elif kind in {"set", "xdata"}:
            self.reading.skip(line, start, "no work, but data of others")
        else:
            work = _work(kind, block.key, _fields(block, self.strings, self.entries))
            if work.title:
                self.reading.add(line, start, work)
            else:
                self.reading.fail(line, start, "this entry has no title")


def _fields(block: Entry, strings: Mapping[str, str], entries: Mapping[str, Entry], depth: int = 0) -> dict[str, str]:
    """Return the fields of an entry, raw, with those that it takes over from the entry that it refers to."""
    fields: dict[str, str] = {}
    for field in block.fields:
        fields.setdefault(field.key.casefold(), _value(str(field.value), strings))
    parent = entries.get(fields.get("crossref", fields.get("xdata", "")).strip().casefold())
    if parent is not None and depth < 5:
        above = _fields(parent, strings, entries, depth + 1)
        title = above.get("booktitle") or above.get("title")
        if title:
            fields.setdefault("booktitle", title)
        for name, value in above.items():
            if name not in OWN:
                fields.setdefault(name, value)
    return fields


def _work(kind: str, key: str, fields: dict[str, str]) -> Work:
    title = decode(fields.get("title", ""))
    if fields.get("subtitle"):
        title = f"{title}: {decode(fields['subtitle'])}"
    authors, more = names(fields.get("author", ""))
    found = _identifiers(fields)
    venue = _venue(fields)
    preprint = bool(found.get("arxiv")) and (not venue or bool(PREPRINT.search(venue)))
    preprint = preprint or (kind in {"article", "misc", "online", "unpublished"} and bool(PREPRINT.search(venue)))
    year = YEAR.search(fields.get("year", "")) or YEAR.search(fields.get("date", ""))
    return Work(
        title=title,
        authors=authors,
        more_authors=more,
        year=int(year[1]) if year else None,
        venue="arXiv" if preprint else venue,
        kind="preprint" if preprint else _kind(kind, fields),
        pages=_pages(fields.get("pages", "")),
        tags=tuple(filter(None, KEYWORDS.split(decode(fields.get("keywords", ""))))),
        key=key,
        **found,
    )


def names(text: str) -> tuple[tuple[str, ...], bool]:
    r"""Return the names of a list of authors, and whether it says that there are others.

    >>> names(r"van der Maaten, Laurens and L{\o}v{\aa}s, S. and {Barnes and Noble} and others")
    (('Laurens van der Maaten', 'S. Løvås', 'Barnes and Noble'), True)
    """
    found: list[str] = []
    for name in _split(text, AND):
        whole = name.strip()
        if whole.startswith("{") and _closes(whole) == len(whole) - 1:
            found.append(decode(whole))
        elif whole:
            found.append(by_commas_outside(whole))
    more = bool(found) and found[-1].casefold() == "others"
    return tuple(name.rstrip("*") for name in (found[:-1] if more else found) if name), more


def by_commas_outside(name: str) -> str:
    """Return a name in LaTeX as text in its usual order; commas within braces are part of it."""
    parts = [decode(part) for part in _split(name, COMMA)]
    if len(parts) == 1:
        return parts[0]
    return by_commas(",".join(part.replace(",", "\0") for part in parts)).replace("\0", ",")


def _split(text: str, between: re.Pattern[str]) -> list[str]:
    """Split text where a pattern stands outside of braces."""
    parts, start, place = [], 0, 0
    depth = 0
    matches = {match.start(): match.end() for match in between.finditer(text)}
    while place < len(text):
        if depth == 0 and place in matches:
            parts.append(text[start:place])
            start = place = matches[place]
            continue
        char = text[place]
        if char == "\\":
            place += 2
            continue
        depth += {"{": 1, "}": -1}.get(char, 0)
        place += 1
    return [*parts, text[start:]]


def _closes(text: str) -> int:
    """Return where the brace is closed with which a text begins; -1 where it is not."""
    depth, place = 0, 0
    while place < len(text):
        char = text[place]
        if char == "\\":
            place += 2
            continue
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth == 0:
            return place
        place += 1
    return -1


def _value(raw: str, strings: Mapping[str, str]) -> str:
    """Return a value without what encloses it; of several parts, all of them.

    >>> _value('"Proceedings of " # conf # { 2016}', {"conf": "FABCONF"})
    'Proceedings of FABCONF 2016'
    """
    parts: list[str] = []
    place = 0
    raw = raw.strip()
    while place < len(raw):
        found = PARTS.match(raw, place)
        if not found:
            place += 1
            continue
        if found[1] is not None:
            parts.append(strings.get(found[1].casefold(), found[1]))
            place = found.end()
            continue
        start = found.end() - 1
        end = start + _closes(raw[start:]) if raw[start] == "{" else _quote(raw, start)
        if end <= start:
            end = len(raw)
        parts.append(raw[start + 1 : end])
        place = end + 1
    return "".join(parts)


def _quote(text: str, start: int) -> int:
    """Return where the quotation mark is that ends a value: one outside of braces; -1 where there is none."""
    depth = 0
    for place in range(start + 1, len(text)):
        if text[place] == '"' and depth == 0:
            return place
        depth += {"{": 1, "}": -1}.get(text[place], 0)
    return -1


def _identifiers(fields: Mapping[str, str]) -> identifiers.Places:
    """Return what leads to the work."""
    places = [
        fields.get(name, "") for name in ("url", "ee", "howpublished", "note", "biburl", "annote", "file", "journal")
    ]
    found = identifiers.of_addresses(filter(None, map(identifiers.plain_address, places)))
    if found.get("url", "").startswith(("https://dblp.org/", "http://dblp.uni-trier.de/")):
        del found["url"]
    eprint = identifiers.ARXIV.fullmatch(fields.get("eprint", "").strip().removeprefix("arXiv:"))
    kind = fields.get("archiveprefix", fields.get("eprinttype", "arxiv")).casefold()
    texts = ("eprint", "journal", "note", "howpublished", "number", "volume", "doi")
    arxiv = eprint[1] if eprint and kind == "arxiv" else ""
    arxiv = arxiv or next(filter(None, (identifiers.arxiv(fields.get(name, "")) for name in texts)), "")
    joined = f"{fields.get('journal', '')} {fields.get('volume', '')}".replace("abs/", "")
    arxiv = arxiv or (identifiers.arxiv(joined) if PREPRINT.match(fields.get("journal", "")) else "")
    doi = identifiers.plain_doi(fields.get("doi", "").replace("\\", "")) or identifiers.doi(fields.get("note", ""))
    if arxiv:
        found["arxiv"] = arxiv
    if doi:
        found["doi"] = doi
    openreview = fields.get("openreview") or fields.get("verba", "").partition("openreview:")[2]
    if openreview:
        found["openreview"] = openreview.strip()
    return found


def _venue(fields: Mapping[str, str]) -> str:
    for name in VENUES:
        venue = decode(re.sub(r"\\url\{[^}]*\}", "", fields.get(name, "")))
        if venue and not venue.startswith(("http://", "https://")):
            return venue
    return ""


def _kind(kind: str, fields: Mapping[str, str]) -> str:
    if kind == "inproceedings" and re.search(r"\bworkshop", fields.get("booktitle", ""), re.IGNORECASE):
        return "workshop"
    return KINDS.get(kind, "")


def _pages(text: str) -> str:
    """Return pages as a record has them: `12-20`; nothing where they say something else."""
    pages = re.sub(r"\s*(?:--?-?|–|—)\s*", "-", decode(text.strip()), count=1)
    return pages if re.fullmatch(r"\w+(-\w+)?", pages) else ""


def _problem(block: ParsingFailedBlock) -> str:
    """Return what the parser says about a block, shortly."""
    error = block.error
    told = getattr(error, "abort_reason", "") or str(error)
    return " ".join(str(told).split()) or "it cannot be read"


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the parser from writing to standard error what is told as rows."""
    log = logging.getLogger("bibtexparser.splitter")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
