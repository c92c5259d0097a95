"""Makes drafts: the file of a record with what a source says, and nothing that it does not say.

A key that a record must have and the source does not give is left out, so that `qkb validate` names it as missing.
`implementation: wanted` is written, because that is true. Of a list of authors that ends in `et al.` nothing is
written: half a list would look like a whole one.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from qkb import fresh
from qkb.imports.citation import is_venue
from qkb.imports.terms import SMALL
from qkb.imports.titles import WORD, halves
from qkb.imports.work import Work
from qkb.records.faults import visible
from qkb.records.layout import HEADER, lay_out
from qkb.records.model import Code, Links, RecordFields
from qkb.records.text import UNSEEN, shorten
from qkb.records.yaml_lines import parse
from qkb.site.corrections import named_venue, words
from qkb.text import fold

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from qkb.records.model import Venue
    from qkb.records.vocabulary import Vocabulary

REQUIRED = tuple(name for name, key in RecordFields.model_fields.items() if key.is_required())
FIRST_YEAR, LAST_YEAR = 1940, 2100
LONGEST = 48
MOST_WORDS = 6


def fields(work: Work, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the keys of the record's file that the source gives, in their canonical order."""
    venue = venue_of(work.venue, vocabulary.venues)
    kinds = vocabulary.venues[venue].kinds if venue in vocabulary.venues else ()
    kind = kinds[0] if len(kinds) == 1 else work.kind
    links = {"arxiv": work.arxiv, "doi": work.doi, "openreview": work.openreview, "url": work.url, "pdf": work.pdf}
    said: dict[str, Any] = {
        "title": _line(work.title),
        "authors": [] if work.more_authors else list(filter(None, map(_line, work.authors))),
        "venue": _line(venue),
        "kind": kind,
        "pages": work.pages,
        "tags": [tag for tag in vocabulary.tags if tag in {fold(word) for word in work.tags}],
        "topics": [topic for topic in vocabulary.topics if topic in {fold(word) for word in work.tags}],
        "links": {key: value for key, value in links.items() if value and _fits(Links, key, value)},
        "code": [
            {"url": url} | ({"framework": framework} if framework else {})
            for url, framework in sorted(dict(reversed(work.code)).items(), key=work.code.index)
            if _fits(Code, "url", url)
        ],
        "implementation": "wanted",
    }
    return {key: value for key, value in said.items() if value}


def missing(said: dict[str, Any]) -> tuple[str, ...]:
    """Return the keys that the record still needs."""
    return tuple(key for key in REQUIRED if key not in said)


def text(said: dict[str, Any], file: str, origin: str) -> str:
    """Return the text of a draft in the canonical layout.

    Args:
        said: the keys.
        file: name of the draft's file.
        origin: where the work was read, for a comment.
    """
    laid = lay_out(parse(json.dumps(said, ensure_ascii=False).encode(), file), file)
    comment = shorten(visible(f"draft from {origin}"), 300)
    return laid.replace(f"{HEADER}\n", f"{HEADER}\n# {comment}\n", 1)


def venue_of(printed: str, venues: dict[str, Venue]) -> str:
    """Return the term of the vocabulary that a printed venue names; else what is printed.

    A short name has to be a name of the venue; in a long one, such as *Proceedings of the 2017 ...*, it may stand.
    """
    asked = words(printed)
    for term, venue in venues.items():
        if any(asked == words(name) and asked.strip() for name in (term, venue.name, *venue.aliases)):
            return term
    if len(asked.split()) > 3 and is_venue(printed):
        found = named_venue(printed, venues)
        workshop = "workshop" in asked
        if found and (not workshop or "workshop" in venues[found].kinds) and _tells(asked, found, venues[found]):
            return found
    return printed


def _tells(asked: str, term: str, venue: Venue) -> bool:
    """Tell whether the long name of a venue stands in a text, or its short name in parentheses or at an end."""
    return any(words(name) in asked for name in (venue.name, *venue.aliases) if len(words(name).split()) > 1) or any(
        asked.endswith(words(name)) or asked.startswith(words(name)) for name in (term, *venue.aliases)
    )


def year_of(work: Work) -> tuple[int | None, str]:
    """Return the year of a work and where it was read: in the source, or, for want of one, in the arXiv id."""
    if work.year is not None and FIRST_YEAR <= work.year <= LAST_YEAR:
        return work.year, "source"
    if work.arxiv:
        return 2000 + int(work.arxiv[:2]), "arXiv id"
    return None, ""


def name_for(work: Work, taken: Container[str]) -> str:
    """Return an id for a work: its short name, else the first words of its title; unlike all that are taken.

    >>> name_for(Work(title="XNOR-Net: ImageNet Classification"), ())
    'xnor-net'
    >>> name_for(Work(title="On the Use of Few Bits", year=2017), {"use-few-bits"})
    'use-few-bits-2017'
    """
    first, _ = halves(work.title)
    said = (first if len(first.split()) <= 4 else work.title).split()
    chosen = [word for word in said if fold(word) not in SMALL][:MOST_WORDS] if len(said) > 4 else said
    name = "-".join(WORD.findall(_latin(" ".join(chosen))))
    if len(name) > LONGEST:
        name = name[: LONGEST + 1].rpartition("-")[0] or name[:LONGEST]
    if len(name) < 2:
        digest = hashlib.sha256(work.title.encode("utf-8", "replace")).hexdigest()[:8]
        name = re.sub(r"[^a-z0-9]+", "-", _latin(work.arxiv or work.openreview)).strip("-") or f"work-{digest}"
    for candidate in _numbered(name, work.year):
        if candidate not in taken:
            return candidate
    raise AssertionError  # there is no last number


def _numbered(name: str, year: int | None) -> Iterator[str]:
    yield name
    if year is not None:
        yield f"{name}-{year}"
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def create(path: Path, content: str) -> bool:
    """Write the file of a new record; tell whether it was written: what exists already stays as it is.

    Raises:
        OSError: it cannot be written, or the folder of its year leads to another place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent.is_symlink():
        raise OSError(0, "the folder of the year is a link to another place", str(path.parent))
    return fresh.create(path, content.encode())


def _fits(model: type[BaseModel], key: str, value: str) -> bool:
    """Tell whether a record can say this under this key."""
    try:
        model.model_validate({key: value})
    except ValidationError:
        return False
    return UNSEEN.search(value) is None


def _latin(text: str) -> str:
    """Return what of a text an id can hold, in small letters; of a plus at the end of a word, the word."""
    text = re.sub(r"(?<=\w)\++(?!\w)", lambda match: f" {'plus' * len(match[0])}", text)
    return fold(text).encode("ascii", "ignore").decode().replace("_", "-")


def _line(text: str) -> str:
    return " ".join(UNSEEN.sub(" ", text).split())[:500].strip()
