from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.site.lists import ListView
from qkb.site.page import Page

if TYPE_CHECKING:
    from qkb.site.survey import Survey


@pytest.fixture
def view(survey: Survey) -> ListView:
    return ListView(Page("lists/small-list.md", survey), survey.vocabulary.lists["small-list"])


def test_rows_keep_the_lists_order_and_titles(view: ListView) -> None:
    first = view.reading_list.sections[0]
    assert view.section(first).splitlines() == [
        "| Paper, as the list prints it | Year | Venue | Code | Measured here |",
        "| --- | --- | --- | --- | --- |",
        (
            "| [Tiny Sign (as printed)](../papers/tiny-sign.md) | 2015 | FABCONF |  "
            '| <span class="qkb-verdict qkb-not-reproduced">1 not reproduced</span> |'
        ),
        (
            "| [Scaled Sign Networks](../papers/scaled-sign.md) | 2016 | FABJ "
            "| [official](https://code.example/scaled-sign) | runs |"
        ),
    ]


def test_corrections_are_computed(view: ListView) -> None:
    why = "The list prints the year of a talk."
    assert view.corrections_table().splitlines()[2:] == [
        (
            "| [Tiny Sign: Networks with One-Bit Weights](../papers/tiny-sign.md) | title | Tiny Sign (as printed) "
            f"| Tiny Sign: Networks with One-Bit Weights | {why} |"
        ),
        f"| [Tiny Sign: Networks with One-Bit Weights](../papers/tiny-sign.md) | year | 2014 | 2015 | {why} |",
    ]


def test_code_links_are_shown_as_links(view: ListView) -> None:
    section = view.reading_list.sections[1]
    row = section.rows[0].model_copy(update={"code": "https://other.example/x"})
    changed = view.reading_list.model_copy(update={"sections": (section.model_copy(update={"rows": (row,)}),)})
    shown = ListView(view.page, changed).corrections_table().splitlines()[-1]
    address = "https://code.example/scaled-sign"
    assert f"| code | [https://other.example/x](https://other.example/x) | [{address}]({address}) |" in shown
