from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from qkb.site.page import Page, venue_anchor, with_front_matter

if TYPE_CHECKING:
    from qkb.site.survey import Survey


@pytest.mark.parametrize(
    ("here", "target", "expected"),
    [
        ("index.md", "papers/a.md", "papers/a.md"),
        ("papers/a.md", "papers/b.md", "b.md"),
        ("papers/a.md", "index.md", "../index.md"),
        ("papers/a.md", "vocabulary.md#venue-x", "../vocabulary.md#venue-x"),
        ("vocabulary.md", "search.md?venue=A%20B", "search.md?venue=A%20B"),
        ("years/index.md", "years/index.md#2016", "index.md#2016"),
    ],
)
def test_addresses_are_relative(survey: Survey, here: str, target: str, expected: str) -> None:
    assert Page(here, survey).href(target) == expected


def test_links(paper_page: Page, survey: Survey) -> None:
    record = survey.records["scaled-sign"]
    assert paper_page.paper("wide-steps") == "[Wide Steps for Ternary and Wider Weights](wide-steps.md)"
    assert paper_page.paper("wide-steps", "as *printed*") == r"[as \*printed\*](wide-steps.md)"
    assert paper_page.year(2016) == "[2016](../years/2016.md)"
    assert paper_page.tags(record) == (
        "[Binarized neural networks](../tags/bnn.md), [Hardware deployment](../tags/hardware.md)"
    )
    assert paper_page.topics(record) == "[Scaling factors](../topics/scaling-factors.md)"
    assert paper_page.venue("FABJ") == "[Fabricated Journal of Bits](../vocabulary.md#venue-fabj)"
    assert paper_page.listed("small-list/two") == "[A small list, Section two](../lists/small-list.md)"


def test_venue_anchors_are_plain() -> None:
    assert venue_anchor("Google AI Blog") == "venue-google-ai-blog"
    assert venue_anchor('x" onclick="y') == "venue-x-onclick-y"


def test_front_matter_comes_back() -> None:
    meta = {"title": "a: b --- \"c\" 'd' # e", "list": ["x" * 300, "---"]}
    page = with_front_matter(meta, "\n\nBody\n\n")
    _, head, body = page.split("---\n", 2)
    assert yaml.safe_load(head) == meta
    assert body == "\nBody\n"
