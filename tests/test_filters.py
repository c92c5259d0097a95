from __future__ import annotations

import typing

import pytest

from qkb import filters
from qkb.errors import UsageError
from qkb.records import model


def test_kinds_are_those_of_the_model() -> None:
    assert typing.get_args(model.Kind) == filters.KINDS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017", (2017, 2017)),
        (2017, (2017, 2017)),
        (" 2015..2018 ", (2015, 2018)),
        ("..2016", (0, 2016)),
        ("2019..", (2019, 9999)),
        ("2017..2017", (2017, 2017)),
    ],
)
def test_years(text: str | int, expected: tuple[int, int]) -> None:
    assert filters.years(text) == expected


@pytest.mark.parametrize(
    "text", ["", "..", "17", "20x7", "2015-2018", "2015..18", "2015...2018", "²⁰¹⁷", "٢٠١٧", ">2017"]
)
def test_years_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="write a year"):
        filters.years(text)


def test_a_range_of_years_the_wrong_way_round() -> None:
    with pytest.raises(UsageError, match=r"write 2015\.\.2018"):
        filters.years("2018..2015")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("w1", [("w", 1, 1)]),
        ("W1A1", [("w", 1, 1), ("a", 1, 1)]),
        ("w1a2g6e8", [("w", 1, 1), ("a", 2, 2), ("g", 6, 6), ("e", 8, 8)]),
        ("w2..4afp", [("w", 2, 4), ("a", 1000, 1000)]),
        ("w10..12", [("w", 10, 12)]),
    ],
)
def test_bits(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert filters.bits(text) == expected


@pytest.mark.parametrize("text", ["", "1", "w", "x1", "w1 a1", "w1a", "w1..", "w123", "fp", "w1;drop"])
def test_bits_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="write w, a, g or e"):
        filters.bits(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("popcount", '"popcount"'),
        ("binary weights", '"binary" AND "weights"'),
        ('"binary weights"', '"binary weights"'),
        ("quanti*", '"quanti"*'),
        ('"binary wei"*', '"binary wei"*'),
        ('"never closed', '"never closed"'),
        ("a AND b OR c NOT d", '"a" AND "AND" AND "b" AND "OR" AND "c" AND "NOT" AND "d"'),
        ("title:x ^y -z", '"title:x" AND "^y" AND "-z"'),
        ("NEAR(a b)", '"NEAR(a" AND "b)"'),
        ("- x *", '"x"'),
        ("nul\0char", '"nul" AND "char"'),
    ],
)
def test_match_expression(text: str, expected: str) -> None:
    assert filters.match_expression(text) == expected


@pytest.mark.parametrize("text", ["", "   ", "&", '""', "* - +", '"("'])
def test_nothing_to_search_for(text: str) -> None:
    with pytest.raises(UsageError, match="no word to search for"):
        filters.match_expression(text)
