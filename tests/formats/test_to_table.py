from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.formats import to_table
from qkb.text import width

if TYPE_CHECKING:
    from qkb.entry import Entry
    from tests.formats.conftest import Maker


def test_in_a_pipe_nothing_is_cut(hard: Entry, plain: Entry) -> None:
    assert to_table.dump([hard, plain]) == (
        "hard   2016  FABCONF  bnn,hardware  w1a2..8  XNOR-Net & Søn: 50% of the {Costs} on a_b\n"
        "plain  2017  arXiv    qnn           -        A plain preprint\n"
    )


def test_on_a_terminal_there_is_a_header_and_the_title_is_cut(hard: Entry, plain: Entry) -> None:
    assert to_table.dump([hard, plain], 70) == (
        "ID     YEAR  VENUE    TAGS          BITS     TITLE\n"
        "hard   2016  FABCONF  bnn,hardware  w1a2..8  XNOR-Net & Søn: 50% of t…\n"
        "plain  2017  arXiv    qnn           -        A plain preprint\n"
    )


def test_nothing_to_write() -> None:
    assert to_table.dump([]) == ""
    assert to_table.dump([], 80) == ""


@pytest.mark.parametrize("columns", [100, 120, 200])
def test_no_line_is_wider_than_the_terminal(make: Maker, columns: int) -> None:
    entries = [
        make("a" * 64, title="量子化 " * 60 + "x", venue="V" * 60, bits={"weights": "12..32", "activations": "12..32"}),
        make("b", title="e\u0301" * 200),
    ]
    lines = to_table.dump(entries, columns).splitlines()
    assert max(map(width, lines)) <= columns
    assert len({width(line[: line.index("2017")]) for line in lines[1:]}) == 1


def test_a_tiny_terminal_still_shows_titles(hard: Entry) -> None:
    assert "XNOR-Net & Søn: 50% of…" in to_table.dump([hard], 20)


def test_what_a_terminal_obeys_is_not_printed(make: Maker) -> None:
    text = to_table.dump([make(title="evil \x1b]0;title\x07 text")])
    assert text == "made  2017  arXiv  qnn  -  evil �]0;title� text\n"
    assert "\t" not in text
