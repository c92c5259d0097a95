from __future__ import annotations

import json
import typing
from typing import TYPE_CHECKING

from qkb.formats import to_csl
from qkb.records.model import Kind

if TYPE_CHECKING:
    from qkb.entry import Entry
    from tests.formats.conftest import Maker

# The item types of the CSL-JSON schema that are used here.
CSL_TYPES = {"article", "article-journal", "book", "paper-conference", "post-weblog", "report", "software", "thesis"}


def test_exactly(hard: Entry, plain: Entry) -> None:
    assert json.loads(to_csl.dump([hard, plain])) == [
        {
            "id": "hard",
            "type": "paper-conference",
            "title": "XNOR-Net & Søn: 50% of the {Costs} on a_b",
            "author": [
                {"family": "Løvås", "given": "Sébastien"},
                {"family": "Maaten", "given": "Laurens", "non-dropping-particle": "van der"},
                {"family": "Lind", "given": "Ada B.", "suffix": "Jr."},
                {"literal": "Alpha Data Systems Ltd."},
            ],
            "issued": {"date-parts": [[2016]]},
            "container-title": "Fabricated Conference & Fair",
            "page": "12-20",
            "DOI": "10.5555/a_b%c&d",
            "URL": "https://a.example/x?a=1&b=2#c_d",
            "custom": {"arxiv": "1511.00001"},
            "keyword": "bnn, hardware, fpga",
        },
        {
            "id": "plain",
            "type": "article",
            "title": "A plain preprint",
            "author": [{"family": "Moss", "given": "Dee"}],
            "issued": {"date-parts": [[2017]]},
            "publisher": "arXiv",
            "number": "arXiv:1701.00002",
            "URL": "https://arxiv.org/abs/1701.00002",
            "custom": {"arxiv": "1701.00002"},
            "keyword": "qnn, ternary",
        },
    ]


def test_letters_are_not_escaped(hard: Entry) -> None:
    assert "Sébastien" in to_csl.dump([hard])


def test_nothing_is_an_empty_array() -> None:
    assert to_csl.dump([]) == "[]\n"


def test_every_kind_has_a_type_of_the_schema(make: Maker) -> None:
    assert tuple(to_csl.TYPES) == typing.get_args(Kind)
    assert {type_ for type_, _ in to_csl.TYPES.values()} == CSL_TYPES


def test_a_doi_alone_gives_no_other_address(make: Maker) -> None:
    (item,) = json.loads(to_csl.dump([make(kind="journal", links={"doi": "10.5555/x"})]))
    assert item["DOI"] == "10.5555/x"
    assert "URL" not in item
    assert "number" not in item
