from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.records.fit import SLUG
from qkb.records.model import ReadingList, Term, Venue
from qkb.records.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker


def faults(library: LibraryMaker) -> list[str]:
    return [str(fault).removeprefix("papers/vocabulary/") for fault in load_vocabulary(library.place).faults]


def test_a_good_vocabulary(library: LibraryMaker) -> None:
    loaded = load_vocabulary(library.place)
    assert loaded.faults == ()
    vocabulary = loaded.vocabulary
    assert list(vocabulary.tags) == ["qnn", "bnn", "hardware", "other"]
    assert vocabulary.topics["ternary"] == Term(name="Ternary", description="Values are minus, zero and plus.")
    assert list(vocabulary.venues) == ["arXiv", "FABCONF", "FABJ"]
    venue = vocabulary.venues["FABCONF"]
    assert isinstance(venue, Venue)
    assert (venue.kinds, venue.aliases) == (("conference",), ("FabConf",))
    small = vocabulary.lists["small-list"]
    assert isinstance(small, ReadingList)
    assert [section.id for section in small.sections] == ["one", "two"]
    assert small.sections[0].rows[0].why == "The list prints the year of a talk."
    assert loaded.lines["papers/vocabulary/lists/small-list.yaml"]["sections[0].rows[0].year"] == 9
    assert loaded.names["topics"] == {"scaling-factors", "ternary", "weights-only"}
    assert loaded.names["lists"] == {"small-list"}


def test_a_library_without_lists(bare_library: LibraryMaker) -> None:
    loaded = load_vocabulary(bare_library.place)
    assert loaded.faults == ()
    assert loaded.vocabulary.lists == {}


def test_files_that_are_missing(library: LibraryMaker) -> None:
    for name in ("tags", "topics", "venues"):
        (library.papers / "vocabulary" / f"{name}.yaml").unlink()
    assert faults(library) == [
        "tags.yaml:1: the file is missing: every library has one",
        "topics.yaml:1: the file is missing: every library has one",
        "venues.yaml:1: the file is missing: every library has one",
    ]
    assert load_vocabulary(library.place).names.keys() == {"lists"}


def test_files_that_cannot_be_read(library: LibraryMaker) -> None:
    library.write("papers/vocabulary/topics.yaml", "a: &x\n")
    library.write("papers/vocabulary/lists/small-list.yaml", "- a\n")
    assert faults(library) == [
        "lists/small-list.yaml:1: the file must be a mapping of `key: value` lines, not a list or a text",
        "topics.yaml:1: anchors such as `&x` are not used here: remove it, or quote the text",
    ]
    assert load_vocabulary(library.place).names.keys() == {"venues", "tags", "lists"}


KINDS = "conference, workshop, journal, preprint, thesis, report, blog, software, book"
VENUES = """\
A: {name: A, kinds: [blog], description: B, aliases: [x, C]}
B: {name: B, kinds: [blog], description: B, aliases: [X, b, B]}
C: {name: C, kinds: [blog], description: B}
"""
TERM = "{name: A name, description: A sentence.}"


@pytest.mark.parametrize(
    ("part", "text", "expected"),
    [
        (
            "topics",
            "a-topic:\n  name: A\n",
            ["2: a-topic.description: this key is missing: add it below `name` (one sentence: when the term applies)"],
        ),
        (
            "topics",
            "a-topic:\n  name: A\n  descrition: B\n  description: C\n",
            ["3: a-topic.descrition: unknown key `descrition`. Did you mean 'description'?"],
        ),
        ("topics", "a-topic:\n", ["1: a-topic: there is no value: write one, or remove the key"]),
        (
            "topics",
            "a-topic: text\n",
            ["1: a-topic: `text` is not right here: write a mapping, {name: ..., description: ...}"],
        ),
        (
            "topics",
            f"A Topic: {TERM}\n",
            [f"1: A Topic: `A Topic` is not right here: {SLUG}"],
        ),
        (
            "topics",
            f"b: {TERM}\na: {TERM}\nc: {TERM}\n",
            ["2: a: the terms are sorted: `a` belongs above `b`"],
        ),
        ("topics", f"a: {TERM}\na: {TERM}\n", ["2: a: the key stands here again, first in line 1: keep one"]),
        (
            "topics",
            "a: {name: <b>A</b>, description: A sentence.}\n",
            ["1: a.name: `<b>A` looks like an HTML tag: put it in `backticks`, or a space after `<`"],
        ),
        (
            "tags",
            f"qnn: {TERM}\nhardware: {TERM}\nother: {TERM}\nnew: {TERM}\n",
            [
                "1: the tag `bnn` is missing: describe it",
                "4: new: there is no tag `new`: the tags are qnn, bnn, hardware, other",
            ],
        ),
        (
            "venues",
            "A:\n  name: A\n  kinds: [confrence]\n  description: B\n",
            [f"3: A.kinds[0]: unknown word `confrence`; write one of {KINDS}. Did you mean 'conference'?"],
        ),
        (
            "venues",
            VENUES,
            [
                "1: A.aliases[1]: `C` already leads to `C`: remove it from one of them",
                "2: B.aliases[0]: `X` already leads to `A`: remove it from one of them",
                "2: B.aliases[2]: `B` already leads to `B`: remove it from one of them",
            ],
        ),
    ],
)
def test_terms_that_are_malformed(bare_library: LibraryMaker, part: str, text: str, expected: list[str]) -> None:
    bare_library.write(f"papers/vocabulary/{part}.yaml", text)
    assert faults(bare_library) == [f"{part}.yaml:{line}" for line in expected]


def test_a_malformed_term_keeps_its_name(bare_library: LibraryMaker) -> None:
    bare_library.write("papers/vocabulary/topics.yaml", f"a: {TERM}\nb: {{name: B}}\n")
    loaded = load_vocabulary(bare_library.place)
    assert list(loaded.vocabulary.topics) == ["a"]
    assert loaded.names["topics"] == {"a", "b"}


LIST = """\
title: T
description: D
sections:
  - id: one
    title: One
    rows:
      - {record: a, title: A}
      - {record: a, title: Another title}
"""


def test_one_work_may_stand_in_two_rows_of_a_section(bare_library: LibraryMaker) -> None:
    bare_library.write("papers/vocabulary/lists/x.yaml", LIST)
    assert faults(bare_library) == []


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "      - {record: a, title: A}\n",
            "9: sections[0].rows[2]: this row of `a` stands here again: keep one",
        ),
        (
            "  - {id: one, title: Two, rows: [{record: a, title: A}]}\n",
            "9: sections[1].id: the section `one` stands here again: give it an id of its own",
        ),
        (
            "      - {record: b, title: B, year: '2016'}\n",
            "9: sections[0].rows[2].year: `2016` is not right here: write a whole number, without quotes",
        ),
        (
            "      - {record: B C, title: B}\n",
            f"9: sections[0].rows[2].record: `B C` is not right here: {SLUG}",
        ),
        (
            "      - {record: b, title: 2048}\n",
            '9: sections[0].rows[2].title: `2048` is no text here: put it in quotes, "2048"',
        ),
        (
            "      - {record: b, title: B, code: a.example}\n",
            (
                "9: sections[0].rows[2].code: `a.example` is not right here: write a whole web address that begins"
                " with http:// or https://, without spaces or quotes"
            ),
        ),
    ],
)
def test_lists_that_are_malformed(bare_library: LibraryMaker, more: str, expected: str) -> None:
    bare_library.write("papers/vocabulary/lists/x.yaml", LIST + more)
    assert faults(bare_library) == [f"lists/x.yaml:{expected}"]


def test_files_that_have_no_place(library: LibraryMaker) -> None:
    for name in ("venues.yml", "notes.txt", "lists/x.yml", "lists/A List.yaml", ".hidden", "lists/.hidden"):
        library.write(f"papers/vocabulary/{name}", "a: 1\n")
    slug = f"for the id, {SLUG}"
    assert faults(library) == [
        f"lists/A List.yaml:1: only reading lists, <list-id>.yaml, stand here; {slug}",
        f"lists/x.yml:1: only reading lists, <list-id>.yaml, stand here; {slug}",
        "notes.txt:1: nothing reads this file: remove it, or correct its name",
        "venues.yml:1: nothing reads this file: remove it, or correct its name",
    ]
