from __future__ import annotations

import pytest

from qkb.imports.citation import around, is_venue, tidy_venue, year_in


@pytest.mark.parametrize(
    ("text", "venue", "year"),
    [
        ("arXiv preprint arXiv:1602.02830 (2016).", "arXiv", 2016),
        ("arXiv preprint arXiv:1812.11800 (2018). (Assigned to @Somebody)", "arXiv", 2018),
        (
            "Proceedings of the Conference on Nets and Bits. 2019.",
            "Proceedings of the Conference on Nets and Bits",
            2019,
        ),
        ("2017 IEEE Symposium Workshops (ABCDW). IEEE, 2017.", "IEEE Symposium Workshops (ABCDW)", 2017),
        ("International Conference on Bits (ICB), 2018", "International Conference on Bits (ICB)", 2018),
        (", CVPR, 2023.", "CVPR", 2023),
        (", Journal of Bits, 2023", "Journal of Bits", 2023),
        (", Ada Lind, Bo Ruiz, 2023", "", 2023),
        (", Ada Lind, Bo Ruiz 2023 ", "", 2023),
        ("(ICLR 2019, oral)", "ICLR", 2019),
        ("In Proceedings of Nets, 2015.", "Proceedings of Nets", 2015),
        ("", "", None),
    ],
)
def test_venue_and_year(text: str, venue: str, year: int | None) -> None:
    about = around(text)
    assert (about.venue, about.year) == (venue, year)


def test_authors_and_pages() -> None:
    about = around("Wei Wen et al, NIPS.")
    assert (about.authors, about.more, about.venue) == (("Wei Wen",), True, "NIPS")
    about = around("Journal of Bits, 3(2), 1-20.")
    assert about.pages == "1-20"
    about = around("Ada Lind, Bo Ruiz, CVPR 2019")
    assert (about.authors, about.venue, about.year) == (("Ada Lind", "Bo Ruiz"), "CVPR", 2019)


def test_identifiers() -> None:
    assert around("arXiv:1602.02830, doi: 10.1000/x.y.").found == {"arxiv": "1602.02830", "doi": "10.1000/x.y"}


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("2023.11", 2023),
        ("2017/10/12", 2017),
        ("ICLR-2019", 2019),
        ("arXiv:2004.03333", None),
        ("10.1145/2019", None),
        ("", None),
    ],
)
def test_years(text: str, year: int | None) -> None:
    assert year_in(text) == year


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("CVPR", True),
        ("NeurIPS'22", True),
        ("Nets 2019", True),
        ("A Net of Bits", False),
        ("code", False),
        ("qnn", False),
        ("2019", False),
    ],
)
def test_is_venue(text: str, holds: bool) -> None:
    assert is_venue(text) is holds


def test_how_a_work_was_presented_is_no_venue() -> None:
    assert tidy_venue("ECCV (Oral)") == "ECCV"


@pytest.mark.parametrize(
    ("text", "venue"),
    [
        ("CVPR 2019, Long Beach", "CVPR"),
        ("NeurIPS, Workshop on Bits", "NeurIPS, Workshop on Bits"),
        ("Journal of Bits, Oslo", "Journal of Bits, Oslo"),
        ("ICLR (Best)", "ICLR"),
        ("ICMLs 2018", "ICML"),
        ("ICLRw", "ICLRw"),
        ("ABCDo", "ABCDo"),
    ],
)
def test_what_stands_beside_a_venue(text: str, venue: str) -> None:
    assert tidy_venue(text) == venue
