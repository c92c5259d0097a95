from __future__ import annotations

from qkb.imports import ris
from qkb.imports.work import Work

FILE = """\
something before
TY  - CONF
ID  - one
TI  - A Title that
  goes on
AU  - van der Maaten, Laurens
A1  - Lind, Ada, Jr.
PY  - 2016/05/01
T2  - Fabricated Conference
SP  - 12
EP  - 20
DO  - doi:10.1000/x
UR  - https://arxiv.org/abs/1511.00001v3
L1  - https://a.example/a.pdf
KW  - bnn
ER  -
TY  - JOUR
T1  - No End
Y1  - 2017//
TY  - JOUR
AU  - Nobody
ER  -
AU  - Lost, L.
ER  -
"""


def test_references() -> None:
    reading = ris.read(FILE.replace("\n", "\r\n"))
    assert reading.rows[0].work == Work(
        title="A Title that goes on", authors=("Laurens van der Maaten", "Ada Lind Jr."), year=2016,
        venue="Fabricated Conference", kind="conference", pages="12-20", arxiv="1511.00001", doi="10.1000/x",
        pdf="https://a.example/a.pdf", tags=("bnn",), key="one",
    )  # fmt: skip
    assert [(row.line, row.work.title if row.work else row.problem) for row in reading.rows] == [
        (2, "A Title that goes on"),
        (17, "No End"),
        (20, "this reference has no title (TI)"),
        (23, "this reference does not begin with TY"),
    ]
    assert [(skipped.line, skipped.text) for skipped in reading.skipped] == [(1, "something before")]


def test_nothing() -> None:
    assert ris.read("").rows == []
