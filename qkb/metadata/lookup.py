"""Looks a work up in every registry that may know it, and joins what they say.

The registry of an identifier is asked first, then those that may know where a preprint was printed. What is printed
counts more than the preprint; what does not have the same title is left aside, and said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qkb.imports import work as imported
from qkb.imports.titles import likeness
from qkb.metadata import arxiv, crossref, dblp, openreview, semantic_scholar
from qkb.metadata.http import NoAnswerError, UnreachableError
from qkb.text import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from qkb.metadata.http import Client
    from qkb.metadata.work import Work

    Found = TypeVar("Found")

GIVEN_UP = 2  # registries that cannot be reached: there is no network
KINDS = {
    "proceedings-article": "conference", "journal-article": "journal", "posted-content": "preprint",
    "dissertation": "thesis", "report": "report", "book": "book", "book-chapter": "book", "monograph": "book",
    "preprint": "preprint", "software": "software", "journalarticle": "journal", "conferencepaper": "conference",
    "conference and workshop papers": "conference", "journal articles": "journal",
    "informal and other publications": "preprint", "informal publications": "preprint",
    "parts in books or collections": "book", "conference": "conference",
}  # fmt: skip
PAGES = re.compile(r"\w+(?:-\w+)?")
INITIAL = re.compile(r"[^\W\d_]\.?")


@dataclass(frozen=True)
class Answer:
    """What the registries say.

    Args:
        work: what was given, and what they add; what was given is never replaced.
        sources: the registries that told something.
        told: what went wrong, or has to be looked at.
        reached: whether any registry could be asked.
    """

    work: imported.Work
    sources: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    reached: bool = True


@dataclass
class _Inquiry:
    """Asks, and goes on where a registry gives no answer."""

    client: Client
    told: list[str] = field(default_factory=list)
    lost: int = 0
    answered: int = 0

    def ask(self, question: Callable[[Client], Found], otherwise: Found) -> Found:
        if self.lost >= GIVEN_UP:
            return otherwise
        try:
            found = question(self.client)
        except NoAnswerError as error:
            self.lost += isinstance(error, UnreachableError)
            self.told.append(str(error))
            return otherwise
        self.answered += 1
        return found


def look_up(given: imported.Work, client: Client) -> Answer:
    """Return what the registries say about a work of which an identifier, or at least the title, is known."""
    inquiry = _Inquiry(client)
    preprint = _preprint(given, inquiry)
    forum = inquiry.ask(lambda asked: openreview.ask(given.openreview, asked), None) if given.openreview else None
    doi = given.doi or (preprint.doi if preprint else "")
    printed = inquiry.ask(lambda asked: crossref.ask(doi, asked), None) if doi else None
    if printed and not given.doi and preprint and not _same(printed, preprint.title):
        inquiry.told.append(f"arXiv names the DOI {doi}, but behind it is {printed.title!r}: it is left out")
        printed, doi = None, ""
    found = [each for each in (printed, forum, preprint) if each is not None and (each.title or each.authors)]
    for other in [each for each in found if given.title and each.title and not _same(each, given.title)]:
        found.remove(other)
        inquiry.told.append(f"{other.source} has another title behind the identifier, {other.title!r}: check both")
    title = given.title or next((_title(work) for work in found if work.title), "")
    if title and not any(_is_printed(work) for work in found):
        found += _of_dblp(title, given.authors or (found[0].authors if found else ()), inquiry)
    if (given.arxiv or doi) and (not found or not given.arxiv):
        name = f"ARXIV:{given.arxiv}" if given.arxiv else f"DOI:{doi}"
        joint = inquiry.ask(lambda asked: semantic_scholar.ask(name, asked), None)
        found += [joint] if joint and (not title or _same(joint, title)) else []
    inquiry.told += [f"{work.source}: {work.notice}" for work in found if work.notice]
    joined = join(given, sorted(found, key=lambda each: not _is_printed(each)), doi)
    sources = tuple(dict.fromkeys(each.source for each in found))
    return Answer(joined, sources, tuple(dict.fromkeys(inquiry.told)), inquiry.answered > 0)


def join(given: imported.Work, found: Sequence[Work], doi: str = "") -> imported.Work:
    """Return a work with what is missing taken from the first of several descriptions that says it."""
    first = found[0] if found else None
    kind = kind_of(first) if first else ""
    preprint = kind == "preprint" or (first is not None and first.source == "arXiv")
    authors = given.authors or next((each.authors for each in found if each.authors), ())
    return replace(
        given,
        title=given.title or next((_title(each) for each in found if each.title), ""),
        authors=given.authors or fullest(authors, [each.authors for each in found]),
        more_authors=given.more_authors and bool(given.authors),
        year=given.year or next((each.years[0] for each in found if each.years), None),
        venue=given.venue or ("arXiv" if preprint else first.venue if first else ""),
        kind=given.kind or ("preprint" if preprint else kind),
        pages=given.pages or next((pages for each in found if (pages := pages_of(each.pages))), ""),
        arxiv=given.arxiv or next((each.arxiv for each in found if each.arxiv), ""),
        doi=given.doi or doi or next((each.doi for each in found if each.doi and _is_printed(each)), ""),
        url=given.url or next((each.url for each in found if each.url and _is_printed(each)), ""),
    )


def kind_of(work: Work) -> str:
    """Return the kind of record of a registry's description; nothing where it does not tell."""
    kind = KINDS.get(work.kind.casefold(), "")
    return "workshop" if kind == "conference" and "workshop" in work.venue.casefold() else kind


def pages_of(printed: str) -> str:
    """Return pages as a record has them.

    >>> pages_of("525--542"), pages_of("12:1-12:20")
    ('525-542', '')
    """
    pages = re.sub(r"\s*(?:--?-?|–|—)\s*", "-", printed.strip(), count=1)
    return pages if PAGES.fullmatch(pages) else ""


def fullest(names: Sequence[str], others: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the one of several lists of the same people that has the fewest initials.

    >>> fullest(["A. Lind", "B. Ruiz"], [["Ada Lind", "Bo Ruiz"], ["Ada Lind"]])
    ('Ada Lind', 'Bo Ruiz')
    """
    families = [fold(name).rpartition(" ")[2] for name in names]
    same = [tuple(names), *map(tuple, others)]
    same = [each for each in same if [fold(name).rpartition(" ")[2] for name in each] == families]
    return min(same, key=lambda each: sum(bool(INITIAL.fullmatch(word)) for name in each for word in name.split()))


def _preprint(given: imported.Work, inquiry: _Inquiry) -> Work | None:
    if not given.arxiv:
        return None
    found = inquiry.ask(lambda asked: arxiv.ask([given.arxiv], asked).get(given.arxiv), None)
    if found is None:
        found = inquiry.ask(lambda asked: crossref.ask(f"10.48550/arXiv.{given.arxiv}", asked), None)
        found = replace(found, doi="", venue="", kind="preprint") if found else None
    elif found.venue:
        found = replace(found, venue="", notice=f"the authors say that it appeared in {found.venue!r}")
    return found


def _of_dblp(title: str, authors: Sequence[str], inquiry: _Inquiry) -> list[Work]:
    """Return the first printed publication that DBLP has of a title, of the same first author."""
    hits: list[Work] = inquiry.ask(lambda asked: dblp.ask(title, asked), [])
    families = {fold(name).rpartition(" ")[2] for name in authors}
    for work in hits:
        if _is_printed(work) and (not families or {fold(name).rpartition(" ")[2] for name in work.authors} & families):
            return [work]
    return []


def _is_printed(work: Work) -> bool:
    """Tell whether this is the publication, not the preprint."""
    return kind_of(work) not in ("", "preprint") or (work.source == "OpenReview" and bool(work.venue))


def _same(work: Work, title: str) -> bool:
    return any(likeness(each, title) in {"same", "spelled", "part"} for each in {work.title, _title(work)})


def _title(work: Work) -> str:
    """Return the title with the subtitle, unless that is in it already."""
    if not work.subtitle or fold(work.subtitle) in fold(work.title):
        return work.title
    return f"{work.title}: {work.subtitle}"
