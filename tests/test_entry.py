from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.entry import Entry, shorthand
from qkb.library import Library

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ({}, ""),
        ({"weights": 1}, "w1"),
        ({"errors": 8, "gradients": 4, "activations": 2, "weights": "fp"}, "wfpa2g4e8"),
        ({"weights": "2..8"}, "w2..8"),
    ],
)
def test_shorthand(bits: dict[str, int | str], expected: str) -> None:
    assert shorthand(bits) == expected


def test_every_key_is_there(library: LibraryMaker) -> None:
    (entry,) = Library.open(library.root).query(ids="wide-steps")
    assert list(entry.data) == [
        "id", "year", "title", "authors", "venue", "kind", "pages", "tags", "topics", "bits", "links", "code",
        "aliases", "builds_on", "implementation", "claims", "listed_in", "notes",
    ]  # fmt: skip
    assert entry["pages"] is None
    assert entry["code"] == []
    assert entry["bits"] == {"weights": "2..8", "activations": "fp"}
    assert entry["links"] == {"arxiv": "1701.00002"}


def test_the_entry_of_a_record_is_that_of_a_query(library: LibraryMaker) -> None:
    opened = Library.open(library.root)
    for found in opened.query():
        made = Entry.of(opened.record(found.id), found.venue_name)
        assert made == found
        for column in ("id", "year", "title", "venue", "venue_name", "kind", "tags", "bits"):
            assert getattr(made, column) == getattr(found, column)


def test_entries_compare_and_hash(library: LibraryMaker) -> None:
    opened = Library.open(library.root)
    first, second = opened.query(ids=["tiny-sign", "scaled-sign"])
    assert first != second
    assert len({first, second, opened.query(ids="tiny-sign")[0]}) == 2
    assert repr(first) == "Entry('tiny-sign', 2015)"
