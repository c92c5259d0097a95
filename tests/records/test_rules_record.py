from __future__ import annotations

import inspect
from typing import Any

import pytest

from qkb.records import rules_record
from qkb.records.model import Record
from qkb.records.rules_record import RULES, sentences

GOOD: dict[str, Any] = {
    "title": "A Title",
    "authors": ("Ada Lind", "Bo Ruiz"),
    "venue": "FABCONF",
    "kind": "conference",
    "pages": "525-542",
    "tags": ("bnn", "qnn"),
    "topics": ("ternary", "weights-only"),
    "bits": {"weights": 1, "activations": "2..8", "gradients": "fp"},
    "links": {"arxiv": "1603.05279"},
    "code": ({"url": "https://a.example/x"}, {"url": "https://a.example/y"}),
    "aliases": ("AT",),
    "builds_on": ("one", "two"),
    "implementation": "wanted",
    "claims": (
        {"id": "one", "says": "it works", "where": "Sec. 1"},
        {"id": "two", "says": "it works", "where": "Sec. 1"},
    ),
    "listed_in": ("a/b", "a/c"),
    "notes": "One. Two. Three.",
}


def record(**changes: Any) -> Record:
    return Record.from_parts("a-record", 2016, GOOD | changes)


def claim(name: str) -> dict[str, str]:
    return {"id": name, "says": "it works", "where": "Sec. 1"}


DIGITS = "has {} digits after the point, but there are {}: check it"
GOOD_AND_BAD: dict[str, tuple[list[dict[str, Any]], list[tuple[dict[str, Any], list[str]]]]] = {
    "has_a_link": (
        [{"links": {"doi": "10.5555/x"}}, {"links": {"pdf": "https://a.example/x.pdf"}}],
        [({"links": {}}, ["links: there is no link: give at least one of arxiv, doi, openreview, url, pdf"])],
    ),
    "bits_ascend": (
        [{"bits": None}, {"bits": {}}, {"bits": {"errors": "1..32"}}],
        [
            ({"bits": {"weights": "8..2"}}, ["bits.weights: `8..2` goes down: write 2..8"]),
            ({"bits": {"weights": 1, "errors": "4..4"}}, ["bits.errors: `4..4` is no range: write 4"]),
            (
                {"bits": {"activations": "10..9", "gradients": "32..1"}},
                ["bits.activations: `10..9` goes down: write 9..10", "bits.gradients: `32..1` goes down: write 1..32"],
            ),
        ],
    ),
    "pages_ascend": (
        [{"pages": None}, {"pages": "7"}, {"pages": "7-7"}, {"pages": "e1-e20"}, {"pages": "9-10"}],
        [({"pages": "525-42"}, ["pages: `525-42` goes down: write both pages in full, as in 525-542"])],
    ),
    "nothing_twice": (
        [{"aliases": ("A", "B"), "code": ()}],
        [
            ({"authors": ("Zoé  LØV", "B", "Zoe Lov")}, ["authors[2]: this is the same as authors[0]: keep one"]),
            ({"tags": ("bnn", "qnn", "bnn")}, ["tags[2]: this is the same as tags[0]: keep one"]),
            ({"topics": ("ternary", "ternary")}, ["topics[1]: this is the same as topics[0]: keep one"]),
            (
                {"code": ({"url": "https://a.example/X"}, {"url": "http://www.a.example/x.git/"})},
                ["code[1].url: this is the same as code[0].url: keep one"],
            ),
            ({"aliases": ("BNN", "bnn")}, ["aliases[1]: this is the same as aliases[0]: keep one"]),
            (
                {"builds_on": ("one", "two", "one", "two")},
                [
                    "builds_on[2]: this is the same as builds_on[0]: keep one",
                    "builds_on[3]: this is the same as builds_on[1]: keep one",
                ],
            ),
            ({"claims": (claim("x"), claim("x"))}, ["claims[1].id: this is the same as claims[0].id: keep one"]),
            ({"listed_in": ("a/b", "a/b")}, ["listed_in[1]: this is the same as listed_in[0]: keep one"]),
        ],
    ),
    "alias_is_another_name": (
        [{"aliases": ("A Titled Work",)}],
        [({"aliases": ("AT", "a TITLE")}, ["aliases[1]: this is the title: remove the alias"])],
    ),
    "authors_stand_alone": (
        [{"authors": ("Ran El-Yaniv", "J. D. Owens", "Alexander Anderson", "Étal Ando")}],
        [
            (
                {"authors": ("Ada Lind and Bo Ruiz",)},
                ["authors[0]: `Ada Lind and Bo Ruiz` contains `and`: one author each, all of them, given name first"],
            ),
            (
                {"authors": ("Ada Lind", "Ruiz, Bo")},
                ["authors[1]: `Ruiz, Bo` contains `,`: one author each, all of them, given name first"],
            ),
            (
                {"authors": ("Ada Lind et al.",)},
                ["authors[0]: `Ada Lind et al.` contains `et al`: one author each, all of them, given name first"],
            ),
            (
                {"authors": ("A; B", "C & D")},
                [
                    "authors[0]: `A; B` contains `;`: one author each, all of them, given name first",
                    "authors[1]: `C & D` contains `&`: one author each, all of them, given name first",
                ],
            ),
        ],
    ),
    "names_are_plain": (
        [{"title": "Bits: 10% of Größe, ℓ1-norm & 'more'", "aliases": ("it's",), "authors": ("Hervé Jégou",)}],
        [
            ({"title": "{BinaryNet}"}, ["title: `{` looks like LaTeX: write the character itself, and no braces"]),
            (
                {"title": r"Gr\"o\ss e"},
                ['title: `\\"` looks like LaTeX: write the character itself, and no braces'],
            ),
            (
                {"title": "$k$-means", "aliases": ("A", r"\'A"), "authors": ("Ada", r"Herv\'e")},
                [
                    "title: `$` looks like LaTeX: write the character itself, and no braces",
                    "aliases[1]: `\\'` looks like LaTeX: write the character itself, and no braces",
                    "authors[1]: `\\'` looks like LaTeX: write the character itself, and no braces",
                ],
            ),
            ({"title": "``Quoted''"}, ["title: ```` looks like LaTeX: write the character itself, and no braces"]),
        ],
    ),
    "builds_on_others": (
        [{"builds_on": ()}, {"builds_on": ("a-record-2",)}],
        [({"builds_on": ("one", "a-record")}, ["builds_on[1]: this is the record itself: remove it"])],
    ),
    "arxiv_fits_year": (
        [
            {"links": {"doi": "10.5555/x"}},
            {"links": {"arxiv": "1712.01213"}},
            {"links": {"arxiv": "1412.7024"}},
            {"links": {"arxiv": "0704.0001"}},
        ],
        [
            ({"links": {"arxiv": "1613.0527"}}, ["links.arxiv: `1613.0527` is of a month 13: check the identifier"]),
            ({"links": {"arxiv": "1600.0527"}}, ["links.arxiv: `1600.0527` is of a month 00: check the identifier"]),
            (
                {"links": {"arxiv": "0703.0001"}},
                ["links.arxiv: `0703.0001` is of 2007-03, and such identifiers begin in 2007-04: check it"],
            ),
            (
                {"links": {"arxiv": "1603.0527"}},
                [f"links.arxiv: `1603.0527` {DIGITS.format(4, '5 digits since 2015')}"],
            ),
            (
                {"links": {"arxiv": "1412.70240"}},
                [f"links.arxiv: `1412.70240` {DIGITS.format(5, '4 digits before 2015')}"],
            ),
            (
                {"links": {"arxiv": "1801.05279"}},
                ["links.arxiv: `1801.05279` is of 2018, but the record is of 2016: check both"],
            ),
        ],
    ),
    "notes_are_short": (
        [{"notes": "One. Two. Three"}, {"notes": " ".join(["Sentence."] * 8)}],
        [
            ({"notes": "One. Two."}, ["notes: the notes have 2 sentences: write 3 to 8"]),
            ({"notes": "Only one"}, ["notes: the notes have 1 sentence: write 3 to 8"]),
            ({"notes": " ".join(["Sentence."] * 9)}, ["notes: the notes have 9 sentences: write 3 to 8"]),
        ],
    ),
}


def test_every_rule_has_good_and_bad_records() -> None:
    assert [rule.__name__ for rule in RULES] == list(GOOD_AND_BAD)


def test_every_generator_of_the_module_is_a_rule() -> None:
    public = [
        function
        for name, function in vars(rules_record).items()
        if inspect.isgeneratorfunction(function) and not name.startswith("_")
    ]
    assert public == list(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rules_and_records(rule: Any) -> None:
    assert inspect.getdoc(rule)
    good, bad = GOOD_AND_BAD[rule.__name__]
    for changes in ({}, *good):
        assert list(rule(record(**changes))) == []
    for changes, expected in bad:
        assert [f"{path}: {message}" for path, message in rule(record(**changes))] == expected


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, ""),
        (0, "  \n\n "),
        (1, "No full stop"),
        (1, "One."),
        (2, "One. two"),
        (3, "One! Two? Three…"),
        (1, "Rates of 0.5, 1.2 and 2"),
        (1, "See Sec. 3, Eq. 4 and Fig. 5 of Courbariaux et al. (2016), e.g. the table, i.e. its rows."),
        (2, "By J. D. Owens. It works."),
        (3, "It needs some data for X. The scale is A. Use it."),
        (2, "He said (in Sec. 2.) It works."),
        (2, 'It is "good." It works.'),
        (1, "The file `a. b. c.` is one."),
        (1, "The formula $x. y. z$ is one."),
        (2, "One\n\nTwo"),
        (3, "Three things:\n- one\n- two"),
        (3, "1. One thing\n2. Two things\n3. Three things."),
        (2, "It costs nothing, etc. It works."),
        (1, "Wrapped text\nis one sentence\nstill."),
        (2, "A fence:\n\n```\na. b. c.\n```"),
        (1, "Wait... "),
    ],
)
def test_counting_sentences(count: int, text: str) -> None:
    assert sentences(text) == count
