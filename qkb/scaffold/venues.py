"""Finds the term of the vocabulary for what a registry prints as the venue."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from qkb.imports.draft import venue_of
from qkb.records.text import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qkb.records.model import Venue

YEAR = re.compile(r"['’]?\b(?:(?:19|20)\d\d)\b|(?<=\w)['’]\d\d\b")
LIKE = 0.7
BETWEEN = re.compile(r"\s+[–—-]\s+|\s*[:,;()]\s*")


def term(printed: str, venues: Mapping[str, Venue]) -> str:
    """Return the term that a printed venue names; else what is printed.

    >>> from qkb.records.model import Venue
    >>> known = {"ECCV": Venue(name="European Conference on Computer Vision", kinds=("conference",), description="x")}
    >>> term("Computer Vision – ECCV 2016", known), term("ECCV 2016 Workshops", known)
    ('ECCV', 'ECCV 2016 Workshops')
    """
    workshop = "workshop" in printed.casefold()
    for said in _ways(printed):
        found = venue_of(said, dict(venues))
        if found in venues and (not workshop or "workshop" in venues[found].kinds):
            return found
    return printed


def unknown(printed: str, venues: Mapping[str, Venue]) -> str:
    """Return what to do about a venue that the vocabulary does not have; nothing where it has it."""
    if not printed or printed in venues:
        return ""
    names = {name.casefold(): key for key, venue in venues.items() for name in (*venue.aliases, venue.name, key)}
    close = difflib.get_close_matches(YEAR.sub("", printed).strip().casefold(), names, n=1, cutoff=LIKE)
    what = f"write {names[close[0]]} if that is it, else describe it there" if close else "describe it there"
    return f"the venue {shorten(printed, 80)!r} is not in papers/vocabulary/venues.yaml: {what}"


def _ways(printed: str) -> Iterator[str]:
    """Yield the venue as printed, without its year, and part by part, short names first."""
    yield printed
    bare = " ".join(YEAR.sub(" ", printed).split())
    yield bare
    yield re.sub(r"\bWorkshops$", "Workshop", bare)
    parts = [part for part in BETWEEN.split(bare) if part]
    if len(parts) > 1:
        yield from sorted(parts, key=lambda part: len(part.split()))
