"""Rules that need the other files: the vocabulary, the other records, the reading lists, the implementations.

Each yields (the record, dotted path, what is wrong and what to do).
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from qkb.errors import nearest
from qkb.records.text import shorten
from qkb.records.vocabulary import FOLDER
from qkb.text import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from qkb.records.drafts import Draft
    from qkb.records.model import Record
    from qkb.records.vocabulary import LoadedVocabulary

WANTED = "wanted"
MAX_HINTS = 50
NO_LETTERS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Shelf:
    """Everything that the rules compare.

    Args:
        drafts: the records, sorted by file.
        ids: the names of all files of records, those that cannot be read too.
        loaded: the vocabulary.
        implementations: family/module of each implementation; None where the library has no folder of them.
    """

    drafts: Sequence[Draft]
    ids: frozenset[str]
    loaded: LoadedVocabulary
    implementations: frozenset[str] | None

    @cached_property
    def by_id(self) -> dict[str, list[Draft]]:
        """The records of each id: more than one where two years hold it."""
        found = defaultdict(list)
        for draft in self.drafts:
            found[draft.record.id].append(draft)
        return dict(found)

    @cached_property
    def rows(self) -> dict[str, set[str]]:
        """`list/section` -> ids of the records that its rows name."""
        return {
            f"{name}/{section.id}": {row.record for row in section.rows}
            for name, reading_list in self.loaded.vocabulary.lists.items()
            for section in reading_list.sections
        }


@dataclass
class Hints:
    """Suggests the nearest of many names; each word costs time, so it is looked for once, and not for hundreds."""

    known: Collection[str]
    otherwise: str
    found: dict[str, str] = field(default_factory=dict)

    def hint(self, word: str) -> str:
        """Return a sentence on what to write instead of a word."""
        if word not in self.found and len(self.found) < MAX_HINTS:
            self.found[word] = nearest(word, self.known)
        return self.found.get(word) or self.otherwise


Finding: TypeAlias = "tuple[Draft, str, str]"


def one_year_per_id(shelf: Shelf) -> Iterator[Finding]:
    """An id stands in one year only."""
    for drafts in shelf.by_id.values():
        for draft in drafts if len(drafts) > 1 else ():
            others = ", ".join(other.file for other in drafts if other is not draft)
            yield draft, "", f"{others} has the same id: rename or merge one of them"


def venue_is_known(shelf: Shelf) -> Iterator[Finding]:
    """The venue is a term of the vocabulary, not one of its aliases."""
    names = shelf.loaded.names.get("venues")
    if names is None:
        return
    venues = shelf.loaded.vocabulary.venues
    hints = Hints(names, f"Describe it in {FOLDER}/venues.yaml if it is new.")
    aliases = {alias.casefold(): name for name, venue in venues.items() for alias in (name, *venue.aliases)}
    for draft in shelf.drafts:
        venue = draft.record.venue
        if venue in names:
            continue
        if venue.casefold() in aliases:
            yield draft, "venue", f"`{shorten(venue)}` is another name: write {aliases[venue.casefold()]}"
        else:
            yield draft, "venue", f"unknown venue `{shorten(venue)}`. {hints.hint(venue)}"


def kind_fits_venue(shelf: Shelf) -> Iterator[Finding]:
    """The venue publishes works of this kind."""
    for draft in shelf.drafts:
        record = draft.record
        venue = shelf.loaded.vocabulary.venues.get(record.venue)
        if venue is not None and record.kind not in venue.kinds:
            kinds = " or ".join(venue.kinds)
            yield draft, "kind", f"`{record.kind}` does not fit the venue {record.venue}, which is for: {kinds}"


def topics_are_known(shelf: Shelf) -> Iterator[Finding]:
    """Every topic is a term of the vocabulary."""
    names = shelf.loaded.names.get("topics")
    if names is None:
        return
    hints = Hints(names, f"The terms stand in {FOLDER}/topics.yaml.")
    for draft in shelf.drafts:
        for index, topic in enumerate(draft.record.topics):
            if topic not in names:
                yield draft, f"topics[{index}]", f"unknown topic `{topic}`. {hints.hint(topic)}"


def builds_on_records(shelf: Shelf) -> Iterator[Finding]:
    """Whatever a work builds on has a record."""
    hints = Hints(shelf.ids, "Write its record first, or remove it.")
    for draft in shelf.drafts:
        for index, other in enumerate(draft.record.builds_on):
            if other not in shelf.ids:
                yield draft, f"builds_on[{index}]", f"there is no record `{other}`. {hints.hint(other)}"


def builds_on_no_circle(shelf: Shelf) -> Iterator[Finding]:
    """No work builds, by way of others, on itself."""
    edges = {}
    for name, drafts in shelf.by_id.items():
        edges[name] = [other for other in drafts[0].record.builds_on if other != name and other in shelf.by_id]
    inner = _without_ends(edges)
    for name in inner:
        circle = _way_back(inner, name)
        if circle:
            draft = shelf.by_id[name][0]
            index = draft.record.builds_on.index(circle[1])
            yield draft, f"builds_on[{index}]", f"a circle, {' -> '.join(circle)}: remove one of its steps"


def one_record_per_work(shelf: Shelf) -> Iterator[Finding]:
    """No two records have a title, an alias, an arXiv identifier, a DOI or an OpenReview id in common."""
    owners: dict[tuple[str, str], list[tuple[Draft, str, bool]]] = defaultdict(list)
    for draft in shelf.drafts:
        for kind, key, path, telling in _marks(draft.record):
            owners[kind, key].append((draft, path, telling))
    for (kind, _), found in owners.items():
        if len(found) < 2:
            continue
        for draft, path, telling in found:
            files = sorted({other.file for other, _, also in found if other is not draft and (telling or also)})
            if files:
                yield draft, path, f"{', '.join(files)} has the same {kind}: one work is one record, so merge them"


def listed_in_is_known(shelf: Shelf) -> Iterator[Finding]:
    """Each entry of `listed_in` names a section of a reading list that has a row of the record."""
    lists = shelf.loaded.vocabulary.lists
    names = shelf.loaded.names["lists"]
    for draft in shelf.drafts:
        for index, place in enumerate(draft.record.listed_in):
            path = f"listed_in[{index}]"
            name, _, section = place.partition("/")
            if name not in names:
                hint = nearest(name, names) or f"The lists stand in {FOLDER}/lists."
                yield draft, path, f"there is no reading list `{name}`. {hint}"
            elif name not in lists:  # it has faults of its own
                continue
            elif place not in shelf.rows:
                sections = [one.id for one in lists[name].sections]
                hint = nearest(section, sections) or f"Its sections are {', '.join(sections)}."
                yield draft, path, f"the list {name} has no section `{section}`. {hint}"
            elif draft.record.id not in shelf.rows[place]:
                message = f"no row of this section names {draft.record.id}: remove this entry, or add the row"
                yield draft, path, f"{message} to {FOLDER}/lists/{name}.yaml"


def listed_in_is_complete(shelf: Shelf) -> Iterator[Finding]:
    """A record names every section whose rows name it."""
    for place, ids in shelf.rows.items():
        for draft in (draft for name in ids for draft in shelf.by_id.get(name, ())):
            if place not in draft.record.listed_in:
                file = f"{FOLDER}/lists/{place.partition('/')[0]}.yaml"
                yield draft, "listed_in", f"`{place}` is missing: add it, because a row of {file} names this record"


def implementation_exists(shelf: Shelf) -> Iterator[Finding]:
    """The implementation is a file below reference_impls."""
    known = shelf.implementations
    if known is None:
        return
    for draft in shelf.drafts:
        name = draft.record.implementation
        if name != WANTED and name not in known:
            module = name.partition("/")[2]
            others = [other for other in sorted(known) if other.partition("/")[2] == module]
            hint = f"Did you mean {others[0]}?" if others else f"Write it, or say {WANTED}."
            yield draft, "implementation", f"there is no file reference_impls/{name}.py. {hint}"


def implementation_is_its_own(shelf: Shelf) -> Iterator[Finding]:
    """No two records have the same implementation."""
    owners = defaultdict(list)
    for draft in shelf.drafts:
        if draft.record.implementation != WANTED:
            owners[draft.record.implementation].append(draft)
    for name, drafts in owners.items():
        for draft in drafts if len(drafts) > 1 else ():
            others = ", ".join(other.file for other in drafts if other is not draft)
            yield draft, "implementation", f"{others} names {name}, too: one file per record"


def _without_ends(edges: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the part of a graph that circles are in: what leads nowhere, or is reached from nowhere, is taken off."""
    return _turned(_without_dead_ends(_turned(_without_dead_ends(edges))))


def _without_dead_ends(edges: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return a graph without the nodes from which every way ends."""
    ways_on = {name: len(others) for name, others in edges.items()}
    before = _turned(edges)
    ends = deque(name for name, count in ways_on.items() if count == 0)
    while ends:
        for name in before[ends.popleft()]:
            ways_on[name] -= 1
            if ways_on[name] == 0:
                ends.append(name)
    return {name: [other for other in others if ways_on[other]] for name, others in edges.items() if ways_on[name]}


def _turned(edges: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return a graph whose edges go the other way."""
    turned: dict[str, list[str]] = {name: [] for name in edges}
    for name, others in edges.items():
        for other in others:
            turned[other].append(name)
    return turned


def _way_back(edges: dict[str, list[str]], start: str) -> list[str]:
    """Return the shortest way from a node to itself; an empty list where there is none."""
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for other in edges[name]:
            if other == start:
                way = [start, name]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1] if len(way) > 1 else []
            if other not in came_from:
                came_from[other] = name
                queue.append(other)
    return []


def _marks(record: Record) -> Iterator[tuple[str, str, str, bool]]:
    """Yield what tells a work from others: (kind, key, dotted path, whether it tells even as a mere alias)."""
    yield from _name_marks("title", record.title, telling=True)
    for index, alias in enumerate(record.aliases):
        # Two methods may share a short name; a longer one is a title.
        yield from _name_marks(f"aliases[{index}]", alias, telling=" " in alias)
    links = record.links
    if links.arxiv:
        yield "arXiv identifier", links.arxiv, "links.arxiv", True
    if links.doi:
        yield "DOI", links.doi.casefold(), "links.doi", True
    if links.openreview:
        yield "OpenReview id", links.openreview, "links.openreview", True


def _name_marks(path: str, text: str, *, telling: bool) -> Iterator[tuple[str, str, str, bool]]:
    key = NO_LETTERS.sub("", fold(text))
    if key:
        yield "title or alias", key, path, telling


RULES: tuple[Callable[[Shelf], Iterator[Finding]], ...] = (
    one_year_per_id,
    venue_is_known,
    kind_fits_venue,
    topics_are_known,
    builds_on_records,
    builds_on_no_circle,
    one_record_per_work,
    listed_in_is_known,
    listed_in_is_complete,
    implementation_exists,
    implementation_is_its_own,
)
