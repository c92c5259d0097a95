"""Entries that meet every branch of the formats."""

from __future__ import annotations

from typing import Any

import pytest

from qkb.entry import Entry
from qkb.records.model import Record

HARD: dict[str, Any] = {
    "title": "XNOR-Net & Søn: 50% of the {Costs} on a_b",
    "authors": ("Sébastien Løvås", "Laurens van der Maaten", "Ada B. Lind, Jr.", "Alpha Data Systems Ltd."),
    "venue": "FABCONF",
    "kind": "conference",
    "pages": "12-20",
    "tags": ("bnn", "hardware"),
    "topics": ("fpga",),
    "bits": {"weights": 1, "activations": "2..8"},
    "links": {"arxiv": "1511.00001", "doi": "10.5555/a_b%c&d", "url": "https://a.example/x?a=1&b=2#c_d"},
    "code": (
        {"url": "https://code.example/a_(b)", "official": True},
        {"url": "https://code.example/c", "framework": "torch7"},
    ),
    "aliases": ("XNOR*", "Net | two"),
    "builds_on": ("plain",),
    "implementation": "binary/hard",
    "claims": ({"id": "claim", "says": "it holds", "where": "Sec. 1"},),
    "listed_in": ("list/one",),
    "notes": "First line.\nSecond line.\n",
}
PLAIN: dict[str, Any] = {
    "title": "A plain preprint",
    "authors": ("Dee Moss",),
    "venue": "arXiv",
    "kind": "preprint",
    "tags": ("qnn",),
    "topics": ("ternary",),
    "links": {"arxiv": "1701.00002"},
    "implementation": "wanted",
    "claims": ({"id": "claim", "says": "it holds", "where": "Sec. 1"},),
    "notes": "One line.\n",
}


class Maker:
    """Makes entries of validated records."""

    def __call__(self, name: str = "made", year: int = 2017, venue_name: str | None = None, /, **changes: Any) -> Entry:
        """Return the entry of a plain record with these changes."""
        return Entry.of(Record.from_parts(name, year, {**PLAIN, **changes}), venue_name)


@pytest.fixture
def make() -> Maker:
    """Makes entries."""
    return Maker()


@pytest.fixture
def hard(make: Maker) -> Entry:
    """An entry whose every part is awkward."""
    return make("hard", 2016, "Fabricated Conference & Fair", **HARD)


@pytest.fixture
def plain(make: Maker) -> Entry:
    """An entry with only what a record must have."""
    return make("plain", 2017, "arXiv preprint")
