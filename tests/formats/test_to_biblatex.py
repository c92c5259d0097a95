from __future__ import annotations

import typing
from typing import TYPE_CHECKING

from qkb.formats import to_biblatex
from qkb.records.model import Kind

if TYPE_CHECKING:
    from qkb.entry import Entry
    from tests.formats.conftest import Maker


def test_exactly(hard: Entry, plain: Entry) -> None:
    authors = (
        r"S{\'e}bastien L{\o}v{\r{a}}s and Laurens van der Maaten and Lind, Jr., Ada B. and {Alpha Data Systems Ltd.}"
    )
    expected = r"""@inproceedings{hard,
  title = {{XNOR-Net} \& S{\o}n: 50\% of the {\textbraceleft}Costs{\textbraceright} on a\_b},
  author = {AUTHORS},
  booktitle = {Fabricated Conference \& Fair},
  pages = {12--20},
  date = {2016},
  doi = {10.5555/a_b%c&d},
  url = {https://a.example/x?a=1&b=2#c_d},
  eprint = {1511.00001},
  eprinttype = {arxiv},
  keywords = {bnn, hardware, fpga}
}

@online{plain,
  title = {A plain preprint},
  author = {Dee Moss},
  date = {2017},
  eprint = {1701.00002},
  eprinttype = {arxiv},
  keywords = {qnn, ternary}
}
"""
    assert to_biblatex.dump([hard, plain]) == expected.replace("AUTHORS", authors)


def test_every_kind_has_a_type() -> None:
    assert tuple(to_biblatex.TYPES) == typing.get_args(Kind)


def test_reports_and_theses_say_their_type(make: Maker) -> None:
    text = to_biblatex.dump([make("a", 2017, "The Institute", kind="report"), make("b", kind="thesis")])
    assert "@report{a," in text
    assert "institution = {The Institute}" in text
    assert "type = {techreport}" in text
    assert "type = {phdthesis}" in text


def test_an_openreview_id_beside_a_page(make: Maker) -> None:
    text = to_biblatex.dump([make(links={"openreview": "AbC-123_x", "url": "https://a.example/x"})])
    assert "verba = {openreview:AbC-123_x}" in text
