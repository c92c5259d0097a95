"""RIS: one reference per record, for EndNote, Zotero and other reference managers; lines end as RIS wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkb.formats import names
from qkb.formats.addresses import addresses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qkb.entry import Entry

# kind -> type of the reference, and the tag that takes the venue
TYPES = {
    "conference": ("CONF", "T2"),
    "workshop": ("CONF", "T2"),
    "journal": ("JOUR", "T2"),
    "preprint": ("UNPB", "PB"),
    "thesis": ("THES", "PB"),
    "report": ("RPRT", "PB"),
    "blog": ("BLOG", "T2"),
    "software": ("COMP", "PB"),
    "book": ("BOOK", "PB"),
}


def dump(entries: Iterable[Entry]) -> str:
    """Return the records as RIS references, each followed by a blank line."""
    return "".join("".join(f"{tag}  - {value}\r\n" for tag, value in _lines(entry)) + "\r\n" for entry in entries)


def _lines(entry: Entry) -> Iterator[tuple[str, str]]:
    data, links = entry.data, entry.data["links"]
    kind, venue = TYPES[entry.kind]
    yield "TY", kind
    yield "ID", entry.id
    yield "TI", entry.title
    for name in data["authors"]:
        yield "AU", _name(name)
    yield "PY", str(entry.year)
    yield venue, entry.venue_name
    if data["pages"]:
        first, _, last = data["pages"].partition("-")
        yield "SP", first
        if last:
            yield "EP", last
    if "doi" in links:
        yield "DO", links["doi"]
    for label, url in addresses(links).items():
        if label not in {"DOI", "PDF"}:
            yield "UR", url
    if "pdf" in links:
        yield "L1", links["pdf"]
    for keyword in (*entry.tags, *data["topics"]):
        yield "KW", keyword
    yield "ER", ""


def _name(name: str) -> str:
    """Return `Last, First, Suffix`; RIS has no place for a particle of its own."""
    parts = names.split(name)
    if parts.whole:
        return parts.family
    last = f"{parts.particle} {parts.family}".strip()
    return ", ".join(part for part in (last, parts.given, parts.suffix) if part)
