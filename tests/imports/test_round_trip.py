"""What qkb writes as a bibliography it reads back: title, authors, year, venue and identifiers, letter by letter."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkb.entry import Entry
from qkb.formats import dump
from qkb.imports import bibtex, csl, draft, ris
from qkb.imports.account import run
from qkb.imports.work import Work
from qkb.library import Library
from qkb.paths import Place
from qkb.records.model import Record, Venue

READERS: dict[str, ModuleType] = {"bibtex": bibtex, "biblatex": bibtex, "csl": csl, "ris": ris}
VENUES = {
    "FABCONF": Venue(name="Fabricated Conference & Fair, 100% #1_x", kinds=("conference",), description="x"),
    "FABJ": Venue(name="Journal of {Bits} – “Übung”", kinds=("journal",), description="x"),
    "arXiv": Venue(name="arXiv preprint", kinds=("preprint",), description="x"),
    "Lab": Venue(name="Lab\\Notes $5 ~ ^", kinds=("report",), description="x"),
}
# One line, single spaces; CSL has no way to write what looks like its few HTML tags.
HOSTILE = st.text(
    st.one_of(st.sampled_from("&%_#$\\{}~^\"'`-–—:,;.@=() "), st.characters(codec="utf-8")), min_size=1, max_size=40
)
LINES = HOSTILE.map(
    lambda text: " ".join("".join(char for char in text if char.isprintable() and char not in "<>").split())
).filter(bool)
WORDS = st.text(st.characters(categories=["Lu", "Ll", "Lo"]), min_size=1, max_size=8)
FIRSTS = WORDS.map(lambda word: word[0].upper() + word[1:])
NAMES = st.one_of(
    st.builds("{} {}".format, FIRSTS, FIRSTS),
    st.builds("{} van der {}".format, FIRSTS, FIRSTS),
    st.builds("{} {} Jr.".format, FIRSTS, FIRSTS),
    st.sampled_from(
        ["李 明", "Ō. Ñoño", "D'Arc O'Neil", "Fabcorp", "Alpha Data Systems", "A. B. C. Lind-Ruiz", "Ærø Åse"]
    ),
).filter(lambda name: "and" not in name.lower().split())
LINKS = st.fixed_dictionaries(
    {"arxiv": st.from_regex(r"\A1[0-9]0[1-9]\.[0-9]{5}\Z")},
    optional={
        "doi": st.from_regex(r"\A10\.[0-9]{4}/[a-z0-9_%&#;{}()\\/]{1,15}[a-z0-9]\Z").filter(
            lambda doi: "%7" not in doi and "%5" not in doi
        ),
        "openreview": st.from_regex(r"\A[A-Za-z0-9_-]{8,12}\Z"),
        "url": st.from_regex(r"\Ahttps://a\.example/[a-z0-9_%&#?=~()]{0,15}[a-z0-9]\Z"),
    },
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Draw a record that every rule but those on text would accept."""
    venue = draw(st.sampled_from(sorted(VENUES)))
    fields: dict[str, Any] = {
        "title": draw(LINES),
        "authors": tuple(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))),
        "venue": venue,
        "kind": VENUES[venue].kinds[0],
        "pages": draw(st.sampled_from([None, "1-20", "7", "e17"])),
        "tags": ("bnn",),
        "topics": ("ternary",),
        "links": draw(LINKS),
        "implementation": "wanted",
        "claims": ({"id": "c", "says": "s", "where": "w"},),
        "notes": "n\n",
    }
    return Entry.of(Record.from_parts("made", draw(st.integers(1950, 2050)), fields), VENUES[venue].name)


def said(work: Work) -> tuple[Any, ...]:
    """Return what a bibliography has to give back."""
    venue = draft.venue_of(work.venue, VENUES)
    return work.title, list(work.authors), work.year, venue, work.pages, work.arxiv, work.doi, work.openreview


@pytest.mark.parametrize("form", READERS)
@given(entry=entries())
def test_hostile_records(form: str, entry: Entry) -> None:
    links = entry["links"]
    rows = READERS[form].read(dump([entry], form)).rows
    assert [row.problem for row in rows] == [""]
    identifiers = (links["arxiv"], links.get("doi", ""), links.get("openreview", ""))
    expected = (entry.title, entry["authors"], entry.year, entry.venue, entry["pages"] or "", *identifiers)
    assert said(rows[0].work) == expected


@pytest.mark.parametrize("form", READERS)
def test_the_library_knows_its_own_export(form: str, tmp_path: Any) -> None:
    here = Place(__file__.rpartition("/tests/")[0])
    library = Library.open(here)
    records = library.query()
    target = tmp_path / f"all.{'json' if form == 'csl' else 'ris' if form == 'ris' else 'bib'}"
    target.write_bytes(dump(records, form).encode())
    lines = run(here, [str(target)]).lines
    assert [(line.status, line.ids) for line in lines] == [("known", (entry.id,)) for entry in records]
    venues = library.vocabulary.venues
    works = [row.work for row in READERS[form].read(dump(records, form)).rows]
    for entry, work in zip(records, works, strict=True):
        links = entry["links"]
        assert (work.title, list(work.authors), work.year) == (entry.title, entry["authors"], entry.year)
        assert draft.venue_of(work.venue, venues) == entry.venue
        given_ids = (work.arxiv, work.doi, work.openreview)
        assert given_ids == tuple(links.get(key, "") for key in ("arxiv", "doi", "openreview"))
