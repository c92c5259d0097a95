"""BibLaTeX: what `to_bibtex` writes, with the types and fields of biblatex, for biber.

Preprints and blogs are `online`, reports and theses name their type, the year is a `date`, tags and topics are
`keywords`, and an arXiv identifier is an `eprint` of the type `arxiv`. An OpenReview id that has to stand beside
another address is in `verba`, which biblatex leaves to its users.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkb.formats.latex import encode
from qkb.formats.to_bibtex import author, identifiers, protect, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qkb.entry import Entry

# kind -> type of the entry, and the field that takes the venue
TYPES = {
    "conference": ("inproceedings", "booktitle"),
    "workshop": ("inproceedings", "booktitle"),
    "journal": ("article", "journaltitle"),
    "preprint": ("online", "organization"),
    "thesis": ("thesis", "institution"),
    "report": ("report", "institution"),
    "blog": ("online", "organization"),
    "software": ("software", "organization"),
    "book": ("book", "publisher"),
}
DEGREES = {"thesis": "phdthesis", "report": "techreport"}


def dump(entries: Iterable[Entry]) -> str:
    """Return the records as entries for biblatex, separated by blank lines."""
    return write((TYPES[entry.kind][0], entry.id, _fields(entry)) for entry in entries)


def _fields(entry: Entry) -> Iterator[tuple[str, str]]:
    data, links = entry.data, entry.data["links"]
    yield "title", protect(entry.title, data["aliases"])
    yield "author", " and ".join(map(author, data["authors"]))
    if entry.kind != "preprint" or "arxiv" not in links:
        yield TYPES[entry.kind][1], encode(entry.venue_name)
    if entry.kind in DEGREES:
        yield "type", DEGREES[entry.kind]
    if data["pages"]:
        yield "pages", encode(data["pages"]).replace("-", "--")
    yield "date", str(entry.year)
    # biblatex prints the number of an eprint and links it, so its address would be printed twice.
    for name, value in identifiers(links):
        if name == "openreview":
            yield "verba", f"openreview:{value}"
        elif value != f"https://arxiv.org/abs/{links.get('arxiv')}":
            yield name, value
    if "arxiv" in links:
        yield "eprint", links["arxiv"]
        yield "eprinttype", "arxiv"
    yield "keywords", ", ".join((*entry.tags, *data["topics"]))
