"""The check that a person has one name in all records."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING

from qkb.doctor.finding import Finding, Library
from qkb.text import fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SPELLING = "accents, hyphens or case"


def authors(library: Library) -> Iterator[Finding]:
    """One person under several names.

    Names that differ only in accents, hyphens or case are reported always. Initials for a full name, a middle name that
    is left out, and the same words in another order are reported only where the two also have a co-author in common,
    since many people share a name. Nothing is mended: only the papers tell how the person writes the name.
    """
    papers: dict[str, list[str]] = defaultdict(list)  # name -> ids
    others: dict[str, set[str]] = defaultdict(set)  # name -> folded names of co-authors
    for record in library.papers.records.values():
        folded = [_key(name) for name in record.authors]
        for name, key in zip(record.authors, folded, strict=True):
            papers[name].append(record.id)
            others[name].update(other for other in folded if other != key)
    for one, two in _candidates(sorted(papers)):
        why = _why(one, two)
        if why and (why == SPELLING or others[one] & others[two]):
            # The rarer of two spellings is the likelier slip.
            wrong, right = sorted((one, two), key=lambda name: (len(papers[name]), name))
            name = papers[wrong][0]
            index = library.papers.records[name].authors.index(wrong)
            message = f"`{wrong}` is `{right}` in {library.papers.files[papers[right][0]]} ({why}): the same person?"
            yield library.of_record("authors", name, f"authors[{index}]", message)


def _key(name: str) -> str:
    """Return a name as it compares: without case, accents, hyphens and full stops.

    >>> _key("Jean-Luc  Ó. Picard")
    'jean luc o picard'
    """
    return " ".join(fold(name).replace("-", " ").replace("\N{HYPHEN}", " ").replace(".", " ").split())


def _candidates(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs that share their last or first word, or consist of the same letters: few of all pairs."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        words = _key(name).split()
        if words:
            for key in {words[-1], words[0]} - {word for word in (words[-1], words[0]) if len(word) == 1}:
                groups[key].append(name)
            groups[f"={''.join(words)}"].append(name)
    return sorted({pair for group in groups.values() for pair in combinations(group, 2)})


def _why(one: str, two: str) -> str:
    """Say how two names of one person differ; nothing where they are two people's.

    >>> _why("Ada Lind", "A. Lind"), _why("Lind Ada", "Ada Lind"), _why("Ada B. Lind", "Ada Lind")
    ('an initial', 'another order', 'a middle name')
    >>> _why("Ada Lind", "Ana Lind"), _why("Renée Lind", "Renee Lind"), _why("A. Lind", "B. Lind")
    ('', 'accents, hyphens or case', '')
    """
    first, second = _key(one).split(), _key(two).split()
    if "".join(first) == "".join(second):
        return SPELLING
    if sorted(first) == sorted(second):
        return "another order"
    short, long = sorted((first[:-1], second[:-1]), key=len)
    if not short or first[-1] != second[-1] or not _begins(short[0], long[0]):
        return ""
    return _short_for(short, long)


def _short_for(short: list[str], long: list[str]) -> str:
    """Say how given names are a shorter form of others; nothing where they are not."""
    if len(short) == len(long):
        return "an initial" if all(map(_begins, short, long)) else ""
    if all(any(_begins(word, other) for other in long[1:]) for word in short[1:]):
        return "a middle name" if short[0] == long[0] else "an initial"
    return ""


def _begins(one: str, other: str) -> bool:
    """Tell whether two words are the same, or one is the initial of the other."""
    return one == other or (min(len(one), len(other)) == 1 and one[0] == other[0])
