"""The parts of a person's name, as CSL, RIS and BibTeX want them."""

from __future__ import annotations

from typing import NamedTuple

_SUFFIXES = frozenset(("jr", "sr", "ii", "iii", "iv"))
# A name with one of these words is an organisation's.
_ORGANISATION = frozenset(
    ("center", "centre", "company", "contributors", "corp", "corporation", "developers", "foundation",
     "gmbh", "group", "inc", "institute", "lab", "laboratory", "labs", "llc", "ltd", "project", "research", "systems",
     "team", "university")
)  # fmt: skip


class Name(NamedTuple):
    """A name in parts; of an organisation, or of somebody with a single name, all of it is `family`.

    >>> split("Laurens van der Maaten")
    Name(given='Laurens', particle='van der', family='Maaten', suffix='', whole=False)
    """

    given: str
    particle: str
    family: str
    suffix: str
    whole: bool


def split(name: str) -> Name:
    """Return the parts of a full name in its usual order.

    >>> split("Ada B. Lind, Jr.")[:4]
    ('Ada B.', '', 'Lind', 'Jr.')
    >>> split("Alpha Data Parallel Systems Ltd.").whole
    True
    """
    words = name.replace(",", " ").split()
    suffix = words.pop() if len(words) > 2 and words[-1].rstrip(".").casefold() in _SUFFIXES else ""
    if len(words) < 2 or _is_organisation(name, suffix):
        return Name("", "", name, "", whole=True)
    start = len(words) - 1
    while start > 1 and words[start - 1][0].islower():
        start -= 1
    return Name(" ".join(words[:start]), " ".join(words[start:-1]), words[-1], suffix, whole=False)


def _is_organisation(name: str, suffix: str) -> bool:
    words = [word.strip(".,()").casefold() for word in name.split()]
    return not _ORGANISATION.isdisjoint(words) or words[0] == "the" or "and" in words or name.count(",") > bool(suffix)
