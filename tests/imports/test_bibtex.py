from __future__ import annotations

import logging

import pytest

from qkb.imports import bibtex
from qkb.imports.work import Work

# ruff: noqa: E501 (the file)
FILE = r"""% a comment
@string{conf = "Fabricated Conference"}
@string(pre = {Pre-})
@article{one, title = {Bits {\"u}ber {\o} "All"}, journal = pre # "Journal of " # {Bits}, month = jan # "~1", year = 2016,
  author = "L{\o}v{\aa}s, S. and van der Maaten, Laurens and {Barnes and Noble} and others", pages = {12--20}, doi = {10.1000/a\_b}}
@article{broken, title = {No end
@article{twice, title = {Two Years}, year = {2017}, year = {2018}}
@inproceedings{one, title = {The Same Key}, crossref = {volume}, pages = {3}}
@proceedings{volume, title = conf, booktitle = {Proceedings of the } # conf, year = 2015, publisher = {Nobody}}
@article{comma title = {No comma}}
@misc{preprint, title = {On {arXiv}}, eprint = {1511.00001v2}, archivePrefix = {arXiv}, year = {2015}}
@article{prose, title = {In a Journal}, journal = {arXiv preprint arXiv:1602.00002}, year = 2016}
@article{dblp, title = {From a Server.}, journal = {CoRR}, volume = {abs/1602.00003}, year = 2016}
@misc{link, howpublished = {\url{https://openreview.net/forum?id=AbC-123_x}}, url = {https://doi.org/10.1000/xyz}, title={By Address}}
@book{untitled, author = {Nobody}}
@comment{@article{hidden, title = {Hidden}}}
@online{bl, title = {Main}, subtitle = {Second}, date = {2019-05-01}, eprint = {1905.00004}, eprinttype = {arxiv}, author = {Ruiz, Jr., Bo}}
@article{last, title = {Never closed}
"""


def works() -> dict[str, Work]:
    return {row.work.key: row.work for row in bibtex.read(FILE).rows if row.work is not None}


def test_every_entry_is_a_row_with_its_line() -> None:
    reading = bibtex.read(FILE)
    assert [(row.line, row.work.key if row.work else "") for row in reading.rows] == [
        (4, "one"), (6, ""), (7, "twice"), (8, "one"), (10, ""), (11, "preprint"), (12, "prose"), (13, "dblp"),
        (14, "link"), (15, ""), (17, "bl"), (18, ""),
    ]  # fmt: skip
    problems = [row.problem for row in reading.rows if row.work is None]
    assert problems[0].startswith("this entry is broken: Unexpected block start")
    assert problems[2] == "this entry has no title"
    assert [(skipped.line, skipped.why) for skipped in reading.skipped if "volume" in skipped.why] == [
        (9, "a volume, which holds works")
    ]


def test_values_strings_and_names() -> None:
    first = next(row.work for row in bibtex.read(FILE).rows)
    assert first == Work(
        title='Bits über ø "All"',
        authors=("S. Løvås", "Laurens van der Maaten", "Barnes and Noble"),
        more_authors=True,
        year=2016,
        venue="Pre-Journal of Bits",
        kind="journal",
        pages="12-20",
        doi="10.1000/a_b",
        key="one",
    )


def test_a_volume_gives_venue_and_year() -> None:
    second = next(row.work for row in bibtex.read(FILE).rows if row.work and row.work.title == "The Same Key")
    assert (second.venue, second.year, second.pages, second.kind) == (
        "Proceedings of the Fabricated Conference", 2015, "3", "conference",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "arxiv", "venue", "kind"),
    [
        ("preprint", "1511.00001", "arXiv", "preprint"),
        ("prose", "1602.00002", "arXiv", "preprint"),
        ("dblp", "1602.00003", "arXiv", "preprint"),
        ("bl", "1905.00004", "arXiv", "preprint"),
    ],
)
def test_preprints(key: str, arxiv: str, venue: str, kind: str) -> None:
    work = works()[key]
    assert (work.arxiv, work.venue, work.kind) == (arxiv, venue, kind)


def test_identifiers_in_addresses() -> None:
    work = works()["link"]
    assert (work.openreview, work.doi, work.url) == ("AbC-123_x", "10.1000/xyz", "")


def test_biblatex() -> None:
    work = works()["bl"]
    assert (work.title, work.year, work.authors) == ("Main: Second", 2019, ("Bo Ruiz Jr.",))


def test_of_a_field_given_twice_the_first_counts() -> None:
    assert works()["twice"].year == 2017


def test_a_circle_of_references_ends() -> None:
    text = "@book{a, title={A Title}, crossref={b}}\n@book{b, title={B Title}, crossref={a}}\n"
    assert [row.work.title for row in bibtex.read(text).rows if row.work] == ["A Title", "B Title"]


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        bibtex.read("@article{a, title = {x\n")
    assert caplog.records == []
    assert not logging.getLogger("bibtexparser.splitter").disabled


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("{a {b} c}", "a {b} c"),
        ('"a {"} b"', 'a {"} b'),
        ("jan", "1"),
        ("unknown", "unknown"),
        ("2016", "2016"),
        ('{a} # "b" # jan', "ab1"),
        ("", ""),
        ("{never", "never"),
    ],
)
def test_values(raw: str, value: str) -> None:
    assert bibtex._value(raw, {"jan": "1"}) == value


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A B AND C D", ("A B", "C D")),
        ("Lind, Ada", ("Ada Lind",)),
        ("{The {Big} Lab}", ("The Big Lab",)),
        (r"Ruiz, {Jr.}, Bo and {van Dyk}, C.", ("Bo Ruiz Jr.", "C. van Dyk")),
        ("{Smith, Sons} and X", ("Smith, Sons", "X")),
        ("Rand{\\'\\i}a Anderson", ("Randía Anderson",)),
        ("", ()),
    ],
)
def test_names(text: str, names: tuple[str, ...]) -> None:
    assert bibtex.names(text) == (names, False)
