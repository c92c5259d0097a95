from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.errors import UsageError
from qkb.links.collect import Link, collect
from qkb.paths import Place
from qkb.records.load import load_all

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

ROOT = Path(__file__).parents[2]


def found(library: LibraryMaker, *ids: str) -> list[Link]:
    return collect(library.place, load_all(library.place), ids)


def test_every_link_of_a_record_with_its_place(library: LibraryMaker) -> None:
    path = library.record(
        "many",
        links={"arxiv": "1601.00001", "doi": "10.5555/a(b)c", "openreview": "abc_DEF-12", "url": "https://a.example/1",
               "pdf": "https://a.example/1.pdf"},
        code=[{"url": "https://code.example/1"}, {"url": "https://code.example/2"}],
        claims=[{"id": "one", "says": "as https://claims.example shows", "where": "Sec. 1"}],
        notes="First sentence here.\nSecond, see https://notes.example/x.\nThird [one](https://notes.example/y).\n",
    )  # fmt: skip
    lines = path.read_text().splitlines()
    links = {link.path: link for link in found(library, "many")}
    assert {path: link.url for path, link in links.items() if path != "notes"} == {
        "links.arxiv": "https://arxiv.org/abs/1601.00001",
        "links.doi": "https://doi.org/10.5555/a(b)c",
        "links.openreview": "https://openreview.net/forum?id=abc_DEF-12",
        "links.url": "https://a.example/1",
        "links.pdf": "https://a.example/1.pdf",
        "code[0].url": "https://code.example/1",
        "code[1].url": "https://code.example/2",
        "claims[0].says": "https://claims.example",
    }
    in_notes = [link for link in found(library, "many") if link.path == "notes"]
    assert [(link.url, link.fault) for link in in_notes] == [
        ("https://notes.example/x", ""),
        ("https://notes.example/y", ""),
    ]
    for link in found(library, "many"):
        assert link.record == "many"
        assert link.file == "papers/2016/many.yaml"
        identifier = link.url.rpartition("/")[2].rpartition("=")[2]
        assert identifier in lines[link.line - 1]


def test_pages(library: LibraryMaker) -> None:
    library.write("README.md", "# A\n\n[site](https://site.example) [c](CONTRIBUTING.md) [d](gone.md#x) [e](#a)\n")
    library.write("CONTRIBUTING.md", "Mail [us](mailto:a@b.example).\n\n[bad](ftp://a.example/x) [p](papers)\n")
    library.write("site/pages/about.md", "See [a paper](paper/x.md) and <https://about.example/>.\n")
    pages = [(link.file, link.line, link.url, link.fault) for link in found(library) if not link.record]
    assert pages == [
        ("CONTRIBUTING.md", 3, "ftp://a.example/x", "only http and https addresses are links"),
        ("README.md", 3, "gone.md#x", "there is no file gone.md"),
        ("README.md", 3, "https://site.example", ""),
        ("site/pages/about.md", 1, "https://about.example/", ""),
    ]
    assert not [link for link in found(library, "tiny-sign") if not link.record]


def test_unknown_ids_are_named(library: LibraryMaker) -> None:
    with pytest.raises(UsageError, match=r"there is no record 'tiny-sing'\. Did you mean 'tiny-sign'\?"):
        found(library, "tiny-sing")


def test_the_survey_has_no_link_that_is_wrong_by_its_looks() -> None:
    place = Place(ROOT)
    papers = load_all(place)
    links = collect(place, papers)
    assert len(links) > len(papers.records)
    assert [link for link in links if link.fault] == []
