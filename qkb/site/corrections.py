"""What a reading list prints otherwise than the record says: computed row by row, never kept by hand."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qkb.records.model import ListRow, ReadingList, Record, Venue

# Sponsors and small words, which one list prints and another leaves out.
_UNTOLD = frozenset(("acm", "and", "annual", "cvf", "ieee", "in", "of", "on", "proceedings", "sigda", "the"))


@dataclass(frozen=True)
class Correction:
    """One value of a row that differs from the record.

    Attributes:
        record: id of the row's record.
        what: which value differs.
        printed: the value as the list prints it.
        recorded: the value in the record; for a code link, the record's links, or that none is known.
        why: the row's own sentence on it, if it has one.
    """

    record: str
    what: Literal["title", "year", "venue", "code"]
    printed: str
    recorded: str
    why: str


def corrections(
    reading_list: ReadingList, records: Mapping[str, Record], venues: Mapping[str, Venue]
) -> list[Correction]:
    """Return the corrections of a list, in its order."""
    return [
        found
        for section in reading_list.sections
        for row in section.rows
        for found in row_corrections(row, records[row.record], venues)
    ]


def row_corrections(row: ListRow, record: Record, venues: Mapping[str, Venue]) -> Iterator[Correction]:
    """Yield what one row prints otherwise than its record says."""
    why = row.why or ""
    if letters(row.title) != letters(record.title):
        yield Correction(row.record, "title", row.title, record.title, why)
    if row.year is not None and row.year != record.year:
        yield Correction(row.record, "year", str(row.year), str(record.year), why)
    if row.venue is not None and named_venue(row.venue, venues) != record.venue:
        yield Correction(row.record, "venue", row.venue, record.venue, why)
    known = [code.url for code in record.code]
    if row.code is not None and not any(same_place(row.code, url) for url in known):
        yield Correction(row.record, "code", row.code, ", ".join(known) or "no code is known", why)


def letters(title: str) -> str:
    """Return what counts in a title: letters and digits, without case and accents.

    >>> letters("XNOR-Net- ImageNet") == letters("XNOR-Net: ImageNet")
    True
    """
    decomposed = unicodedata.normalize("NFKD", title).casefold()
    return "".join(c for c in decomposed if c.isalnum())


def words(name: str) -> str:
    """Return the words that tell venues apart, each between spaces, so that `in` compares whole words.

    >>> words("Proceedings of the IEEE/CVF Conference on Computer Vision")
    ' conference computer vision '
    """
    found = re.findall(r"[a-z0-9]+", unicodedata.normalize("NFKD", name).casefold())
    return f" {' '.join(word for word in found if word not in _UNTOLD)} "


def named_venue(printed: str, venues: Mapping[str, Venue]) -> str | None:
    """Return the venue that a list's wording names: the one whose longest name occurs in it.

    >>> from qkb.records.model import Venue
    >>> known = {
    ...     "CVPR": Venue(name="Computer Vision and Pattern Recognition", kinds=("conference",), description="x"),
    ...     "CVPR Workshop": Venue(name="CVPR Workshops", kinds=("workshop",), description="x"),
    ... }
    >>> named_venue("Proceedings of CVPR, 2018", known), named_venue("CVPR Workshops", known)
    ('CVPR', 'CVPR Workshop')
    """
    text = words(printed)
    found = [
        (len(name), key)
        for key, venue in venues.items()
        for name in map(words, (key, venue.name, *venue.aliases))
        if name.strip() and name in text
    ]
    return max(found)[1] if found else None


def same_place(one: str, other: str) -> bool:
    """Tell whether two addresses name the same repository, or one a folder of the other.

    >>> same_place("https://www.github.com/A/b.git/", "http://github.com/a/b/tree/main/x")
    True
    >>> same_place("https://github.com/a/b", "https://github.com/a/bc")
    False
    """
    first, second = (
        re.sub(r"^https?://(www\.)?", "", url).rstrip("/").removesuffix(".git").casefold() + "/" for url in (one, other)
    )
    return first.startswith(second) or second.startswith(first)
