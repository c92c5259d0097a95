"""Compares records with what the registries have behind their identifiers.

A link that answers may still show another paper. Titles may differ by a few letters; an alias of the record counts as
its title. Authors are compared by family name and order. Years may differ as far as a preprint and its publication do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qkb.links.collect import IDENTIFIERS
from qkb.links.report import Row
from qkb.metadata import arxiv, crossref, openreview
from qkb.metadata.http import NoAnswerError
from qkb.records.yaml_lines import line_of
from qkb.text import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qkb.metadata.http import Client
    from qkb.metadata.work import Work
    from qkb.records.load import Papers
    from qkb.records.model import Record

# How far the record's year may lie before and after one that the registry gives.
YEARS = {"arxiv": (1, 3), "openreview": (1, 2), "doi": (1, 1)}
LETTERS_PER_SLIP = 15  # one wrong letter in so many is a slip, not another title
SHOWN = 4


@dataclass(frozen=True)
class _Claim:
    """An identifier of a record."""

    record: Record
    key: str
    value: str


def verify(
    papers: Papers, ids: Iterable[str], client: Client, report: Callable[[int, int], None] | None = None
) -> list[Row]:
    """Compare records with the registries: a row for each identifier, by file and line.

    Args:
        papers: the library.
        ids: records; all of them when empty.
        client: asks the registries.
        report: called with how many identifiers are done, and how many there are.
    """
    names = [name for name in (dict.fromkeys(ids) or papers.records) if name in papers.records]
    claims = [
        _Claim(papers.records[name], key, value)
        for name in names
        for key, value in papers.records[name].links.model_dump(exclude_none=True).items()
        if key in IDENTIFIERS
    ]
    claims.sort(key=lambda claim: claim.key != "arxiv")  # arXiv answers for many at once
    tell = report or (lambda *_: None)
    tell(0, len(claims))
    preprints = _preprints([claim.value for claim in claims if claim.key == "arxiv"], client)
    rows = []
    for done, claim in enumerate(claims, 1):
        rows.append(_row(claim, preprints, papers, client))
        tell(done, len(claims))
    return sorted(rows, key=lambda row: (row.file, row.line, row.path))


def differences(record: Record, work: Work, key: str) -> list[str]:
    """Return how a registry's description of a work differs from the record; `key` names the identifier."""
    told = (_title(record, work), _authors(record.authors, work.authors), _year(record.year, work.years, key))
    return [difference for difference in told if difference]


def _preprints(ids: Sequence[str], client: Client) -> dict[str, Work] | NoAnswerError:
    try:
        return arxiv.ask(list(dict.fromkeys(ids)), client)
    except NoAnswerError as error:
        return error


def _row(claim: _Claim, preprints: dict[str, Work] | NoAnswerError, papers: Papers, client: Client) -> Row:
    record, path = claim.record, f"links.{claim.key}"
    place = (papers.files[record.id], line_of(papers.lines[record.id], path), path, record.id)
    url = IDENTIFIERS[claim.key].format(claim.value)
    try:
        work = _ask(claim, preprints, client)
    except NoAnswerError as error:
        return Row(*place, url, "unknown", str(error))
    if work is None:
        return Row(*place, url, "dead", "the registry does not know it")
    if not work.title and not work.authors:
        return Row(*place, url, "unknown", f"{work.source} says neither title nor authors")
    found = differences(record, work, claim.key)
    return Row(*place, url, "differs" if found else "ok", "; ".join(f"{work.source}: {each}" for each in found))


def _ask(claim: _Claim, preprints: dict[str, Work] | NoAnswerError, client: Client) -> Work | None:
    if claim.key == "doi":
        return crossref.ask(claim.value, client)
    if claim.key == "openreview":
        return openreview.ask(claim.value, client)
    if isinstance(preprints, NoAnswerError):
        raise preprints
    return preprints.get(claim.value)


def _title(record: Record, work: Work) -> str:
    if not work.title:
        return ""
    theirs = [work.title, *([f"{work.title} {work.subtitle}"] if work.subtitle else [])]
    if any(same_title(ours, given) for ours in (record.title, *record.aliases) for given in theirs):
        return ""
    shared = _words(record.title) & _words(theirs[-1])
    other = "another work: " if len(shared) * 3 < min(len(_words(record.title)), len(_words(theirs[-1]))) else ""
    return f"{other}the title is {theirs[-1]!r}"


def same_title(one: str, other: str) -> bool:
    """Tell whether two titles are the same but for case, accents, punctuation and a slip of the pen.

    >>> same_title("XNOR-Net: ImageNet Classification", "XNOR net -- Imagenet classification.")
    True
    >>> same_title("DoReFa-Net", "DoReFa-Net: Training Low Bitwidth Networks")
    False
    """
    a, b = _letters(one), _letters(other)
    limit = max(len(a), len(b)) // LETTERS_PER_SLIP
    if re.findall(r"\d", a) != re.findall(r"\d", b):
        return False  # 2 bits are not 4 bits
    return a == b or (abs(len(a) - len(b)) <= limit and distance(a, b, limit) <= limit)


def distance(one: str, other: str, limit: int) -> int:
    """Return how many letters must be put in, left out or changed; `limit` + 1 where it is more than `limit`.

    >>> distance("binary", "binery", 3), distance("abc", "xyz", 1)
    (1, 2)
    """
    before = list(range(len(other) + 1))
    for row, char in enumerate(one, 1):
        now = [row]
        for column, given in enumerate(other, 1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (char != given)))
        if min(now) > limit:
            return limit + 1
        before = now
    return min(before[-1], limit + 1)


def _authors(ours: Sequence[str], theirs: Sequence[str]) -> str:
    if not theirs:
        return ""
    pairs = zip(ours, theirs, strict=False)
    if len(ours) == len(theirs) and all(same_person(one, other) for one, other in pairs):
        return ""
    missing = [name for name in theirs if not any(same_person(one, name) for one in ours)]
    surplus = [name for name in ours if not any(same_person(name, other) for other in theirs)]
    parts = []
    if missing:
        parts.append(f"the record lacks {_listed(missing)}")
    if surplus:
        parts.append(f"{_listed(surplus)} {'is' if len(surplus) == 1 else 'are'} not among the authors")
    return ", and ".join(parts) or f"the authors' order is {_listed(theirs)}"


def same_person(one: str, other: str) -> bool:
    """Tell whether two names can be one person's: the same family name, or the same words in any order.

    >>> same_person("Mohammad Rastegari", "M. Rastegari"), same_person("Zhou Shuchang", "Shuchang Zhou")
    (True, True)
    >>> same_person("Laurens van der Maaten", "L. Van Der Maaten"), same_person("Ada Lind", "Ada Ruiz")
    (True, False)
    """
    a, b = _name_words(one), _name_words(other)
    return bool(a) and bool(b) and (a[-1] == b[-1] or sorted(a) == sorted(b) or "".join(a) == "".join(b))


def _year(ours: int, theirs: Sequence[int], key: str) -> str:
    before, after = YEARS[key]
    if not theirs or any(year - before <= ours <= year + after for year in theirs):
        return ""
    return f"the year is {' or '.join(map(str, theirs))}, not {ours}"


def _letters(title: str) -> str:
    return re.sub(r"[\W_]+", "", fold(re.sub(r"\\[a-zA-Z]+|[${}]", "", title)))


def _words(title: str) -> set[str]:
    return {word for word in re.findall(r"\w+", fold(title)) if len(word) > 3}


def _name_words(name: str) -> list[str]:
    words = re.findall(r"\w+", fold(re.sub(r"['’.`-]", " ", name)))
    return [word for word in words if word not in {"jr", "sr", "ii", "iii"}] or words


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
