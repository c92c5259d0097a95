from __future__ import annotations

import json

import pytest

from qkb.imports import csl
from qkb.imports.work import Work

ITEM = {
    "id": "one",
    "type": "paper-conference",
    "title": "A <i>Net</i>",
    "author": [
        {"family": "Maaten", "given": "Laurens", "non-dropping-particle": "van der"},
        {"literal": "A Lab"},
        "Lind, Ada",
    ],
    "issued": {"date-parts": [["2016", 5]]},
    "container-title": ["Fabricated Conference"],
    "page": "12–20",
    "DOI": "https://doi.org/10.1000/x",
    "URL": "https://arxiv.org/abs/1511.00001",
    "keyword": "bnn, fpga",
    "custom": {"openreview": "AbC-123_x"},
}


def test_an_item() -> None:
    reading = csl.read(json.dumps([ITEM]))
    assert [row.work for row in reading.rows] == [
        Work(
            title="A Net", authors=("Laurens van der Maaten", "A Lab", "Ada Lind"), year=2016,
            venue="Fabricated Conference", kind="conference", pages="12-20", arxiv="1511.00001", doi="10.1000/x",
            openreview="AbC-123_x", tags=("bnn", "fpga"), key="one",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [json.dumps(ITEM), json.dumps({"items": [ITEM]}), json.dumps([ITEM], indent=2), f" [\n{json.dumps(ITEM)} ]\n"],
)
def test_shapes_of_files(text: str) -> None:
    assert [row.work.key for row in csl.read(text).rows if row.work] == ["one"]


@pytest.mark.parametrize(
    ("issued", "year"),
    [
        ({"raw": "May 2017"}, 2017),
        ({"date-parts": [[2018]]}, 2018),
        ({"literal": "in press"}, None),
        (None, None),
        ("2019", 2019),
    ],
)
def test_years(issued: object, year: int | None) -> None:
    work = csl.read(json.dumps([{"title": "T", "issued": issued}])).rows[0].work
    assert work is not None
    assert work.year == year


def test_what_is_broken_is_told_with_its_line() -> None:
    text = '[\n{"title": "First"},\n{"id": 3},\n"text",\n{"title": broken}\n]'
    rows = csl.read(text).rows
    assert [(row.line, row.problem.partition(":")[0]) for row in rows] == [
        (2, ""),
        (3, "this item has no title"),
        (4, "this is no item"),
        (5, "from here on this is no JSON"),
    ]


@pytest.mark.parametrize("text", ["", "{}", "null", "[" * 5000, '{"a":' * 5000, "12"])
def test_what_is_no_csl(text: str) -> None:
    rows = csl.read(text).rows
    assert all(row.work is None for row in rows)
    assert len(rows) <= 1
