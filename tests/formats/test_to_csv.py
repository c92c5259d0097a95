from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

from qkb.formats import to_csv

if TYPE_CHECKING:
    from qkb.entry import Entry
    from tests.formats.conftest import Maker


def test_exactly(hard: Entry, plain: Entry) -> None:
    assert to_csv.dump([hard, plain]) == (
        "id,year,title,authors,venue,venue_name,kind,pages,tags,topics,weights,activations,gradients,errors,"
        "arxiv,doi,openreview,url,pdf,code,official_code,aliases,builds_on,implementation,listed_in\n"
        "hard,2016,XNOR-Net & Søn: 50% of the {Costs} on a_b,"
        '"Sébastien Løvås; Laurens van der Maaten; Ada B. Lind, Jr.; Alpha Data Systems Ltd.",'
        "FABCONF,Fabricated Conference & Fair,conference,12-20,bnn; hardware,fpga,1,2..8,,,"
        "1511.00001,10.5555/a_b%c&d,,https://a.example/x?a=1&b=2#c_d,,"
        "https://code.example/a_(b); https://code.example/c,https://code.example/a_(b),"
        "XNOR*; Net | two,plain,binary/hard,list/one\n"
        "plain,2017,A plain preprint,Dee Moss,arXiv,arXiv preprint,preprint,,qnn,ternary,,,,,"
        "1701.00002,,,,,,,,,wanted,\n"
    )


def test_read_back(hard: Entry, plain: Entry) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv.dump([hard, plain]))))
    assert [row["title"] for row in rows] == [hard.title, plain.title]
    assert rows[0]["authors"].split("; ") == hard["authors"]
    assert tuple(rows[0]) == to_csv.HEADER


def test_without_records_only_the_header() -> None:
    assert to_csv.dump([]) == ",".join(to_csv.HEADER) + "\n"


@pytest.mark.parametrize("title", ["=1+1", "+1", "-1", "@x"])
def test_no_cell_is_a_formula(make: Maker, title: str) -> None:
    (row,) = csv.DictReader(io.StringIO(to_csv.dump([make(title=title)])))
    assert row["title"] == f"'{title}"
