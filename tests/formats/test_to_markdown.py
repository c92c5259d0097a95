from __future__ import annotations

from typing import TYPE_CHECKING

import markdown  # type: ignore[import-untyped]

from qkb.formats import to_markdown

if TYPE_CHECKING:
    from qkb.entry import Entry
    from tests.formats.conftest import Maker


def test_exactly(hard: Entry, plain: Entry) -> None:
    assert to_markdown.dump([hard, plain]) == (
        "| Year | Title | Authors | Venue | Tags | Bits | Code |\n"
        "| ---: | --- | --- | --- | --- | --- | --- |\n"
        r"| 2016 | [XNOR-Net \& Søn: 50% of the \{Costs\} on a\_b](<https://doi.org/10.5555/a_b%c&d>) "
        "| Sébastien Løvås, Laurens van der Maaten, Ada B. Lind, Jr., et al. | FABCONF | bnn, hardware | w1a2..8 "
        "| [official](<https://code.example/a_(b)>), [torch7](<https://code.example/c>) |\n"
        "| 2017 | [A plain preprint](<https://arxiv.org/abs/1701.00002>) | Dee Moss | arXiv | qnn |  |  |\n"
    )


def test_without_records_only_the_header() -> None:
    assert to_markdown.dump([]) == to_markdown.HEADER


def test_a_row_is_a_row_for_markdown(make: Maker) -> None:
    nasty = r"a | b \| c [d](javascript:x) <script>alert(1)</script> `x|y` *e* _f_ ![g](h) &lt; \\"
    html = markdown.markdown(to_markdown.dump([make(title=nasty)]), extensions=["tables"])
    assert html.count("<tr>") == 2
    assert html.count("<td") == 7
    for active in ("<script", "<em>", "<code>", "<img", 'href="javascript'):
        assert active not in html
    assert "&lt;script&gt;" in html


def test_an_address_that_would_end_the_cell_or_the_link(make: Maker) -> None:
    text = to_markdown.dump([make(links={"doi": "10.5555/a|b)c"})])
    assert "(<https://doi.org/10.5555/a%7Cb)c>)" in text


def test_a_work_without_an_address_is_not_linked(make: Maker) -> None:
    assert "| A plain preprint |" in to_markdown.dump([make(links={})])
