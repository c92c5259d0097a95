from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.site.tables import document, records_table, sections, site_columns

if TYPE_CHECKING:
    from qkb.site.survey import Survey
    from qkb.site.tables import By


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("year", [("2017", ["wide-steps"]), ("2016", ["scaled-sign"]), ("2015", ["tiny-sign"])]),
        (
            "topic",
            [
                ("Scaling factors", ["scaled-sign"]),
                ("Ternary", ["wide-steps"]),
                ("Weights only", ["wide-steps", "tiny-sign"]),
            ],
        ),
        (
            "tag",
            [
                ("Binarized neural networks", ["scaled-sign", "tiny-sign"]),
                ("Hardware deployment", ["scaled-sign"]),
                ("Quantized neural networks", ["wide-steps"]),
            ],
        ),
        (
            "list",
            [
                ("A small list: Section one", ["tiny-sign", "scaled-sign"]),
                ("A small list: Section two", ["scaled-sign"]),
            ],
        ),
    ],
)
def test_sections(survey: Survey, by: By, expected: list[tuple[str, list[str]]]) -> None:
    assert [(part.title, [record.id for record in part.records]) for part in sections(survey, by)] == expected


def test_the_table_of_the_site(survey: Survey) -> None:
    columns = site_columns(survey, lambda key: f"../papers/{key}.md")
    assert records_table(survey.years[2015], columns).splitlines() == [
        "| Paper | Authors | Year | Venue | Bits | Tags | Code | Measured here |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        (
            "| [Tiny Sign: Networks with One-Bit Weights](../papers/tiny-sign.md) | Lind and Ruiz | 2015 | FABCONF "
            "| W1 | bnn |  "
            '| <span class="qkb-verdict qkb-not-reproduced">1 not reproduced</span> |'
        ),
    ]


def test_what_was_measured(survey: Survey) -> None:
    last = {
        key: records_table([survey.records[key]], site_columns(survey, str)).splitlines()[-1].split(" | ")[-1]
        for key in ("scaled-sign", "wide-steps")
    }
    assert last == {"scaled-sign": "runs |", "wide-steps": '<span class="qkb-verdict qkb-wanted">wanted</span> |'}


def test_the_document_stands_on_its_own(survey: Survey) -> None:
    lines = document(survey, "tag").split("\n\n")
    assert lines[:2] == ["## Binarized neural networks", "Values take two levels."]
    assert "[Scaled Sign Networks](https://doi.org/10.5555/scaled.sign)" in lines[2]
    assert document(survey, "year").startswith("## 2017\n\n| Paper |")
    assert document(survey, "year").endswith(" |\n")
