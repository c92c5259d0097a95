"""The closed vocabularies: papers/vocabulary/{tags,topics,venues}.yaml and papers/vocabulary/lists/*.yaml."""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from qkb.records.faults import Fault
from qkb.records.fit import SLUG, AnyModel, fit, merge
from qkb.records.model import ReadingList, Tag, Term, Venue
from qkb.records.text import shorten
from qkb.records.yaml_lines import Parsed, line_of, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from qkb.paths import Place

FOLDER = "papers/vocabulary"
IS_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
TAGS = typing.get_args(Tag)


@dataclass(frozen=True)
class Vocabulary:
    """The terms that records may use; each mapping is in the order of its file."""

    tags: dict[str, Term]
    topics: dict[str, Term]
    venues: dict[str, Venue]
    lists: dict[str, ReadingList]


@dataclass(frozen=True)
class LoadedVocabulary:
    """The vocabulary with what is wrong with it.

    Args:
        vocabulary: the terms without fault.
        faults: what is wrong with the files.
        lines: file -> dotted path -> line.
        names: `topics`, `venues`, `lists` -> every name that the files give, faulty ones too; a part is missing where
            its file cannot be read, so that no record is blamed for that.
    """

    vocabulary: Vocabulary
    faults: tuple[Fault, ...]
    lines: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)


def load_vocabulary(place: Place) -> LoadedVocabulary:
    """Load the vocabulary of a library; whatever is wrong with it is among the faults."""
    reader = _Reader(place.root)
    tags = reader.terms("tags", Term)
    topics = reader.terms("topics", Term)
    venues = reader.terms("venues", Venue)
    lists = reader.lists()
    reader.strays()
    vocabulary = Vocabulary(tags, topics, venues, lists)
    return LoadedVocabulary(vocabulary, tuple(sorted(reader.faults)), reader.lines, reader.names)


class _Reader:
    """Reads the files of one vocabulary and collects their faults."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults: list[Fault] = []
        self.lines: dict[str, Mapping[str, int]] = {}
        self.names: dict[str, frozenset[str]] = {}

    def terms(self, part: str, model: type[AnyModel]) -> dict[str, AnyModel]:
        """Return the terms of one file."""
        file = f"{FOLDER}/{part}.yaml"
        if not (self.root / file).exists():
            self.faults.append(Fault(file, 1, "", "the file is missing: every library has one"))
            return {}
        parsed = read(self.root / file, file)
        faults: list[Fault] = []
        terms = {}
        for name, value in (parsed.data or {}).items():
            if value is None:  # the parser has told it
                continue
            term, wrong = fit(value, model, file=file, parsed=parsed, prefix=name)
            faults += wrong
            if term is not None:
                terms[name] = term
        if parsed.data is not None:
            self.names[part] = frozenset(parsed.data)
            venues = {name: term for name, term in terms.items() if isinstance(term, Venue)}
            found = chain(_misplaced(part, list(parsed.data)), _other_names(venues))
            faults += (Fault(file, line_of(parsed.lines, path), path, message) for path, message in found)
        self.keep(file, parsed, faults)
        return terms

    def lists(self) -> dict[str, ReadingList]:
        """Return the reading lists by the names of their files."""
        lists = {}
        folder = self.root / FOLDER / "lists"
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in paths:
            file = f"{FOLDER}/lists/{path.name}"
            if path.name.startswith("."):
                continue
            if path.suffix != ".yaml" or not IS_SLUG.fullmatch(path.stem):
                message = f"only reading lists, <list-id>.yaml, stand here; for the id, {SLUG}"
                self.faults.append(Fault(file, 1, "", message))
                continue
            parsed = read(path, file)
            faults: list[Fault] = []
            if parsed.data is not None:
                made, faults = fit(parsed.data, ReadingList, file=file, parsed=parsed)
                if made is not None:
                    lists[path.stem] = made
                    found = _repeated(made)
                    faults += (Fault(file, line_of(parsed.lines, at), at, message) for at, message in found)
            self.keep(file, parsed, faults)
        self.names["lists"] = frozenset(path.stem for path in paths)
        return lists

    def keep(self, file: str, parsed: Parsed, faults: list[Fault]) -> None:
        self.faults += merge(parsed, faults)
        self.lines[file] = parsed.lines

    def strays(self) -> None:
        """Find files that nothing reads."""
        folder = self.root / FOLDER
        expected = {"tags.yaml", "topics.yaml", "venues.yaml", "lists"}
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.name not in expected and not path.name.startswith("."):
                message = "nothing reads this file: remove it, or correct its name"
                self.faults.append(Fault(f"{FOLDER}/{path.name}", 1, "", message))


def _misplaced(part: str, names: list[str]) -> Iterator[tuple[str, str]]:
    """Names are well formed and sorted; the tags are those of the model, in any order."""
    if part == "tags":
        for name in names:
            if name not in TAGS:
                yield name, f"there is no tag `{shorten(name)}`: the tags are {', '.join(TAGS)}"
        for name in TAGS:
            if name not in names:
                yield "", f"the tag `{name}` is missing: describe it"
        return
    for name in names:
        if part == "topics" and not IS_SLUG.fullmatch(name):
            yield name, f"`{shorten(name)}` is not right here: {SLUG}"
    for before, name in pairwise(names):
        if before.casefold() > name.casefold():
            yield name, f"the terms are sorted: `{shorten(name)}` belongs above `{shorten(before)}`"


def _other_names(venues: Mapping[str, Venue]) -> Iterator[tuple[str, str]]:
    """No name or alias leads to two venues."""
    owners = {name.casefold(): name for name in venues}
    for name, venue in venues.items():
        for index, alias in enumerate(venue.aliases):
            owner = owners.setdefault(alias.casefold(), name)
            if owner != name or alias == name:
                yield f"{name}.aliases[{index}]", f"`{alias}` already leads to `{owner}`: remove it from one of them"


def _repeated(reading_list: ReadingList) -> Iterator[tuple[str, str]]:
    """No section id and no row of a section occurs twice."""
    ids = set()
    for index, section in enumerate(reading_list.sections):
        if section.id in ids:
            yield f"sections[{index}].id", f"the section `{section.id}` stands here again: give it an id of its own"
        ids.add(section.id)
        rows = set()
        for number, row in enumerate(section.rows):
            if (row.record, row.title) in rows:
                yield f"sections[{index}].rows[{number}]", f"this row of `{row.record}` stands here again: keep one"
            rows.add((row.record, row.title))
