"""Compares works with those of a library: known, new, or ambiguous, each with the reason.

What tells works apart, the surest first: arXiv id, DOI, OpenReview id; the address; the title or an alias; a title that
is spelled a little otherwise, or without its second half. Where these disagree with each other, or with the authors or
the year, nothing is guessed: the work is ambiguous.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from qkb.imports.titles import letters, likeness, words
from qkb.text import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qkb.imports.work import Work
    from qkb.paths import Place

Status = Literal["new", "known", "ambiguous"]
YEARS_APART = 3  # between a preprint and its last printed version
MOST_SHARED = 200  # a word of more titles than this tells nothing


@dataclass(frozen=True)
class Known:
    """A work of the library, or one that an import adds, as far as comparing needs it."""

    id: str
    titles: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    year: int | None = None
    identifiers: tuple[tuple[str, str], ...] = ()
    addresses: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a comparison says.

    Args:
        status: whether the work is new, known, or may be one of several.
        ids: the records that it is, or may be.
        why: the reason, in a few words.
    """

    status: Status
    ids: tuple[str, ...] = ()
    why: str = ""


@dataclass
class Catalogue:
    """The works of a library, found by what tells them apart."""

    works: dict[str, Known] = field(default_factory=dict)
    _identifiers: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    _addresses: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _titles: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _words: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, known: Known) -> None:
        """Take in a work."""
        self.works[known.id] = known
        for kind, value in known.identifiers:
            self._identifiers[kind, _bare(kind, value)].append(known.id)
        for url in known.addresses:
            self._addresses[_host_and_path(url)].append(known.id)
        for title in known.titles:
            if letters(title) and known.id not in self._titles[letters(title)]:
                self._titles[letters(title)].append(known.id)
            for word in dict.fromkeys(words(title)):
                if known.id not in self._words[word][-1:]:
                    self._words[word].append(known.id)

    def find(self, work: Work) -> Verdict:
        """Tell whether a work is known."""
        by_id = self._by_identifier(work)
        by_title = _ids(self._titles.get(letters(work.title), ()))
        if len(by_id) > 1:
            return Verdict("ambiguous", by_id, "its identifiers are those of several records")
        if by_id:
            return self._of_identifier(work, by_id[0], by_title)
        if by_title:
            return self._of_title(work, by_title)
        return self._of_address(work) or self._by_likeness(work)

    def _of_title(self, work: Work, names: tuple[str, ...]) -> Verdict:
        """Tell about a work with the title of a record."""
        doubts = {name: self._doubt(work, self.works[name]) for name in names}
        fit = tuple(name for name, doubt in doubts.items() if not doubt)
        if len(fit) == 1:
            return Verdict("known", fit, self._origin(fit[0], "title"))
        why = f"the title is the same, but {doubts[names[0]]}" if len(names) == 1 else "several records have this title"
        return Verdict("ambiguous", names, why)

    def _of_identifier(self, work: Work, name: str, by_title: tuple[str, ...]) -> Verdict:
        """Tell about a work with an identifier of a record."""
        shared = (one for one in work.identifiers if name in self._identifiers.get((one[0], _bare(*one)), ()))
        kind = next(shared)[0]
        conflict = self._conflict(work, self.works[name])
        if conflict:
            return Verdict("ambiguous", (name,), f"the {kind} is that of {name}, but {conflict}")
        if by_title and name not in by_title:
            why = f"the {kind} is that of {name}, the title that of {by_title[0]}"
            return Verdict("ambiguous", (name, *by_title), why)
        if work.title and not by_title and not self._related(work, name):
            return Verdict("ambiguous", (name,), f"the {kind} is that of {name}, whose title is another")
        return Verdict("known", (name,), self._origin(name, kind))

    def _of_address(self, work: Work) -> Verdict | None:
        """Tell about a work with the address of one record; None where there is none, or several."""
        names = self._by_address(work)
        if len(names) != 1:
            return None
        if not work.title or self._alike(work.title, names[0]) != "other":
            return Verdict("known", names, self._origin(names[0], "address"))
        return Verdict("ambiguous", names, "the address is the same, but the title is another")

    def _by_identifier(self, work: Work) -> tuple[str, ...]:
        return _ids(
            name for kind, value in work.identifiers for name in self._identifiers.get((kind, _bare(kind, value)), ())
        )

    def _by_address(self, work: Work) -> tuple[str, ...]:
        urls = [url for url in (work.url, work.pdf) if url]
        return _ids(name for url in urls for name in self._addresses.get(_host_and_path(url), ()))

    def _by_likeness(self, work: Work) -> Verdict:
        """Look for titles that are spelled a little otherwise."""
        alike = {name: self._alike(work.title, name) for name in self._candidates(work.title)}
        for grade, said in (("spelled", "a title spelled otherwise"), ("part", "a part of the title, and the authors")):
            found = tuple(name for name, how in alike.items() if how == grade)
            fit = tuple(name for name in found if not self._doubt(work, self.works[name]))
            sure = fit if grade == "spelled" else tuple(name for name in fit if self._agree(work, self.works[name]))
            if len(sure) == 1:
                return Verdict("known", sure, self._origin(sure[0], said))
            if fit or (found and grade == "spelled"):
                return Verdict("ambiguous", found, f"the title is nearly that of {self._named(found[0])}")
        found = tuple(name for name, how in alike.items() if how == "like" and not self._doubt(work, self.works[name]))
        if found:
            return Verdict("ambiguous", found, f"the title is much like that of {self._named(found[0])}")
        return Verdict("new")

    def _named(self, name: str) -> str:
        return f"{name}: {self.works[name].titles[0]}"

    def _candidates(self, title: str) -> list[str]:
        """Return the works that share at least half of the words of a title, rare words first."""
        mine = sorted(dict.fromkeys(words(title)), key=lambda word: len(self._words.get(word, ())))
        shared: dict[str, int] = defaultdict(int)
        for number, word in enumerate(mine):
            having = self._words.get(word, ())
            if number > 2 and len(having) > MOST_SHARED:
                having = [name for name in having if name in shared]
            for name in having:
                shared[name] += 1
        best = sorted(shared, key=lambda name: -shared[name])[:50]
        return [name for name in best if shared[name] * 3 >= len(mine)]

    def _alike(self, title: str, name: str) -> str:
        found = [
            likeness(title, known)
            for known in self.works[name].titles
            if " " in known or letters(title) == letters(known)
        ]
        return min(found, key=("same", "spelled", "part", "like", "other").index, default="other")

    def _related(self, work: Work, name: str) -> bool:
        """Tell whether a title may be an older or newer one of a work: a good part of the words is the same."""
        if self._alike(work.title, name) != "other":
            return True
        mine = set(words(work.title))
        return any(
            2 * len(mine & set(words(title))) >= min(len(mine), len(set(words(title))))
            for title in self.works[name].titles
        )

    def _doubt(self, work: Work, known: Known) -> str:
        """Return what speaks against two works of one title being one; an empty text where nothing does."""
        if work.authors and known.authors and not _same_person(work.authors[0], known.authors[0]):
            others = {_family(name) for name in known.authors}
            if _family(work.authors[0]) not in others:
                return f"the first author is {work.authors[0]}, not {known.authors[0]}"
        if work.year and known.year and abs(work.year - known.year) > YEARS_APART:
            return f"the year is {work.year}, not {known.year}"
        return self._conflict(work, known)

    def _conflict(self, work: Work, known: Known) -> str:
        """Return an identifier that two works have otherwise."""
        theirs = dict(known.identifiers)
        for kind, value in work.identifiers:
            if kind in theirs and _bare(kind, value) != _bare(kind, theirs[kind]):
                return f"the {kind} is {value}, not {theirs[kind]}"
        return ""

    def _agree(self, work: Work, known: Known) -> bool:
        return bool(work.authors and known.authors and _same_person(work.authors[0], known.authors[0]))

    def _origin(self, name: str, said: str) -> str:
        origin = self.works[name].origin
        return f"{said}; {origin}" if origin else said


def of_library(place: Place) -> Catalogue:
    """Return the works of a library, those of drafts and faulty records too, as far as they can be read."""
    from qkb.records.load import load_record, record_files  # noqa: PLC0415 (pydantic)

    catalogue = Catalogue()
    for file in record_files(place)[0]:
        name = file.rpartition("/")[2].rpartition(".")[0]
        draft = load_record(place.root / file, place.root).draft
        if draft is None:
            catalogue.add(Known(name))
            continue
        record, sound = draft.record, draft.sound
        links = record.links
        given = (("arXiv id", links.arxiv), ("DOI", links.doi), ("OpenReview id", links.openreview))
        catalogue.add(
            Known(
                name,
                titles=(*((record.title,) if sound("title") else ()), *record.aliases),
                authors=record.authors if sound("authors") else (),
                year=record.year,
                identifiers=tuple((kind, value) for kind, value in given if value),
                addresses=tuple(url for url in (links.url, links.pdf) if url),
            )
        )
    return catalogue


def of_work(name: str, work: Work, origin: str) -> Known:
    """Return a work that an import adds, so that later rows are compared with it, too."""
    addresses = tuple(url for url in (work.url, work.pdf) if url)
    return Known(name, (work.title,), work.authors, work.year, work.identifiers, addresses, origin)


def _ids(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _bare(kind: str, value: str) -> str:
    return value.casefold() if kind == "DOI" else value


def _host_and_path(url: str) -> str:
    return url.casefold().partition("://")[2].removeprefix("www.").rstrip("/")


def _family(name: str) -> str:
    return fold(name).rpartition(" ")[2]


def _same_person(one: str, other: str) -> bool:
    """Tell whether two printed names may be one person's: the same family name, also where the order is another."""
    mine, theirs = fold(one).replace(".", " ").split(), fold(other).replace(".", " ").split()
    if not mine or not theirs:
        return False
    return mine[-1] == theirs[-1] or sorted(mine) == sorted(theirs) or mine[0] == theirs[-1] or mine[-1] == theirs[0]
