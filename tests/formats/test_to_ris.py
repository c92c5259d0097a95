from __future__ import annotations

import typing
from typing import TYPE_CHECKING

from qkb.formats import to_ris
from qkb.records.model import Kind

if TYPE_CHECKING:
    from qkb.entry import Entry
    from tests.formats.conftest import Maker

HARD = """\
TY  - CONF
ID  - hard
TI  - XNOR-Net & Søn: 50% of the {Costs} on a_b
AU  - Løvås, Sébastien
AU  - van der Maaten, Laurens
AU  - Lind, Ada B., Jr.
AU  - Alpha Data Systems Ltd.
PY  - 2016
T2  - Fabricated Conference & Fair
SP  - 12
EP  - 20
DO  - 10.5555/a_b%c&d
UR  - https://a.example/x?a=1&b=2#c_d
UR  - https://arxiv.org/abs/1511.00001
KW  - bnn
KW  - hardware
KW  - fpga
ER  - \n
"""
PLAIN = """\
TY  - UNPB
ID  - plain
TI  - A plain preprint
AU  - Moss, Dee
PY  - 2017
PB  - arXiv preprint
UR  - https://arxiv.org/abs/1701.00002
KW  - qnn
KW  - ternary
ER  - \n
"""


def test_exactly(hard: Entry, plain: Entry) -> None:
    assert to_ris.dump([hard, plain]) == (HARD + PLAIN).replace("\n", "\r\n")


def test_nothing_to_write() -> None:
    assert to_ris.dump([]) == ""


def test_every_kind_has_a_type() -> None:
    assert tuple(to_ris.TYPES) == typing.get_args(Kind)


def test_one_page_and_a_pdf(make: Maker) -> None:
    text = to_ris.dump([make(kind="journal", pages="7", links={"pdf": "https://a.example/a.pdf"})])
    assert "SP  - 7\r\n" in text
    assert "EP  - " not in text
    assert "L1  - https://a.example/a.pdf\r\n" in text
    assert "UR  - " not in text


def test_every_line_is_a_tag_and_a_value(hard: Entry) -> None:
    lines = to_ris.dump([hard]).split("\r\n")
    assert lines[-2:] == ["", ""]
    assert all(line[2:6] == "  - " and line[:2].isupper() for line in lines[:-2] if line[:2] not in {"T2", "L1"})
