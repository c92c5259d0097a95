from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qkb.imports.catalogue import Catalogue, Known, of_library, of_work
from qkb.imports.work import Work

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

TINY = "Tiny Sign: Networks with One-Bit Weights"


@pytest.mark.parametrize(
    ("work", "status", "ids"),
    [
        ({"title": TINY}, "known", ("tiny-sign",)),
        ({"title": "tiny sign - networks with one-bit weights"}, "known", ("tiny-sign",)),
        ({"title": "Tiny Sign: Networks with One-Bit Weigths"}, "known", ("tiny-sign",)),
        ({"title": "TinySign"}, "known", ("tiny-sign",)),
        ({"title": TINY, "authors": ("Lind Ada",)}, "known", ("tiny-sign",)),
        ({"title": TINY, "authors": ("A. Lind",), "year": 2017}, "known", ("tiny-sign",)),
        ({"title": TINY, "authors": ("Someone Else",)}, "ambiguous", ("tiny-sign",)),
        ({"title": TINY, "year": 2022}, "ambiguous", ("tiny-sign",)),
        ({"title": TINY, "arxiv": "1501.00009"}, "ambiguous", ("tiny-sign",)),
        ({"title": "An Older Name of Tiny Sign: Networks", "arxiv": "1511.00001"}, "known", ("tiny-sign",)),
        ({"arxiv": "1511.00001"}, "known", ("tiny-sign",)),
        ({"title": "Quite Different Matters", "arxiv": "1511.00001"}, "ambiguous", ("tiny-sign",)),
        ({"title": "Scaled Sign Networks", "arxiv": "1511.00001"}, "ambiguous", ("tiny-sign", "scaled-sign")),
        ({"arxiv": "1511.00001", "doi": "10.5555/SCALED.sign"}, "ambiguous", ("tiny-sign", "scaled-sign")),
        ({"title": "Scaled sign networks", "doi": "10.5555/SCALED.sign"}, "known", ("scaled-sign",)),
        ({"url": "http://www.journal.example/scaled-sign/"}, "known", ("scaled-sign",)),
        ({"title": "Other", "url": "https://journal.example/scaled-sign"}, "ambiguous", ("scaled-sign",)),
        ({"title": "Networks with One-Bit Weights"}, "ambiguous", ("tiny-sign",)),
        ({"title": "Networks with One-Bit Weights", "authors": ("Ada Lind",)}, "known", ("tiny-sign",)),
        ({"title": "Networks with One-Bit Weights", "authors": ("Someone Else",)}, "new", ()),
        ({"title": "Wide Steps for Binary and Wider Weights"}, "ambiguous", ("wide-steps",)),
        ({"title": "A New Title of Something", "arxiv": "1601.00009"}, "new", ()),
    ],
)
def test_find(library: LibraryMaker, work: dict[str, Any], status: str, ids: tuple[str, ...]) -> None:
    verdict = of_library(library.place).find(Work(**work))
    assert (verdict.status, verdict.ids) == (status, ids)
    assert bool(verdict.why) == (status != "new")


def test_of_two_records_with_one_title_the_fitting_one() -> None:
    catalogue = Catalogue()
    catalogue.add(Known("a", ("A Net of Bits",), ("Ada Lind",)))
    catalogue.add(Known("b", ("A Net of Bits",), ("Bo Ruiz",)))
    assert catalogue.find(Work(title="A net of bits", authors=("Bo Ruiz",))).ids == ("b",)
    assert catalogue.find(Work(title="A net of bits")).status == "ambiguous"


def test_works_of_the_same_import_are_known_too() -> None:
    catalogue = Catalogue()
    catalogue.add(of_work("new-net", Work(title="A New Net of Bits", arxiv="1901.00001"), "new in line 3"))
    verdict = catalogue.find(Work(title="A new net of bits"))
    assert (verdict.status, verdict.why) == ("known", "title; new in line 3")


def test_drafts_and_faulty_records_are_known(bare_library: LibraryMaker) -> None:
    bare_library.write("papers/2019/draft.yaml", "title: A Draft of a Net\nlinks: {arxiv: '1901.00001'}\n")
    bare_library.write("papers/2019/odd.yaml", "title: 3\nauthors: [Ada Lind]\n")
    bare_library.write("papers/2019/broken.yaml", "title: [")
    catalogue = of_library(bare_library.place)
    assert set(catalogue.works) == {"draft", "odd", "broken"}
    assert catalogue.find(Work(title="A draft of a net")).ids == ("draft",)
    assert catalogue.works["odd"].titles == ()
