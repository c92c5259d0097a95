from __future__ import annotations

from typing import Any

import pytest

from qkb.records.faults import Fault
from qkb.records.fit import SLUG, fit, merge
from qkb.records.model import ListRow, ReadingList, Record
from qkb.records.yaml_lines import Parsed, parse

GOOD: dict[str, Any] = {
    "id": "a-record",
    "year": 2016,
    "title": "A Title",
    "authors": ("Ada Lind",),
    "venue": "FABCONF",
    "kind": "conference",
    "tags": ("bnn",),
    "topics": ("ternary",),
    "links": {"arxiv": "1603.05279"},
    "implementation": "wanted",
    "claims": ({"id": "one", "says": "it works", "where": "Sec. 1"},),
    "notes": "One. Two. Three.",
}


def findings(**changes: Any) -> list[str]:
    """Return the faults of a good record with changes; a change to ... removes the key."""
    value = {key: part for key, part in (GOOD | changes).items() if part is not ...}
    record, faults = fit(value, Record, file="f", parsed=Parsed({}))
    assert (record is None) == bool(faults)
    return [f"{fault.path}: {fault.message}" for fault in faults]


def test_a_good_record_fits() -> None:
    record, faults = fit(GOOD, Record, file="f", parsed=Parsed({}))
    assert faults == []
    assert record == Record.from_parts("a-record", 2016, {k: v for k, v in GOOD.items() if k not in ("id", "year")})


BITS = "write a whole number from 1 to 32, a range such as 2..8, or fp (ternary counts as 2)"
ADDRESS = "write a whole web address that begins with http:// or https://, without spaces or quotes"
KINDS = "conference, workshop, journal, preprint, thesis, report, blog, software, book"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": ...}, "title: this key is missing: add it as the first key (the published title)"),
        (
            {"venue": ...},
            "venue: this key is missing: add it below `authors` (a term of papers/vocabulary/venues.yaml)",
        ),
        (
            {"claims": ({"id": "one", "where": "Eq. 1"},)},
            "claims[0].says: this key is missing: add it below `id` (what the work claims, in our own words, with its",
        ),
        ({"autors": ("A",)}, "autors: unknown key `autors`. Did you mean 'authors'"),
        ({"links": {"arxive": "x"}}, "links.arxive: unknown key `arxive`. Did you mean 'arxiv'?"),
        ({"zzz": 1}, "zzz: unknown key `zzz`. The keys here are title, authors, venue, kind, pages, tags, topics,"),
        ({"title": 2048}, 'title: `2048` is no text here: put it in quotes, "2048"'),
        ({"title": True}, 'title: `true` is no text here: put it in quotes, "true"'),
        ({"title": ""}, "title: an empty text is not right here: write one line of text, without spaces at its ends"),
        ({"title": "a\nb"}, "title: `a b` is not right here: write one line of text, without spaces at its ends"),
        ({"title": " a"}, "title: `a` is not right here: write one line of text, without spaces at its ends"),
        ({"title": "x" * 501}, "title: the text has 501 characters: shorten it to 500"),
        ({"title": ("a",)}, "title: a list is not right here: write one line of text, without spaces at its ends"),
        ({"title": {"a": "b"}}, "title: a mapping is not right here: write one line of text, without spaces"),
        ({"authors": "Ada Lind"}, "authors: `Ada Lind` is not right here: write a list in brackets"),
        ({"authors": ()}, "authors: the list is empty: write at least one item"),
        ({"authors": ("A", 5)}, 'authors[1]: `5` is no text here: put it in quotes, "5"'),
        ({"kind": "conferense"}, f"kind: unknown word `conferense`; write one of {KINDS}. Did you mean 'conference'?"),
        ({"kind": 5}, f"kind: `5` is not right here: write one of {KINDS}"),
        ({"kind": ("blog",)}, f"kind: a list is not right here: write one of {KINDS}"),
        ({"tags": ("bnm",)}, "tags[0]: unknown word `bnm`; write one of qnn, bnn, hardware, other. Did you mean"),
        ({"topics": ("Low Bit",)}, f"topics[0]: `Low Bit` is not right here: {SLUG}"),
        ({"pages": "pp. 1--2"}, "pages: `pp. 1--2` is not right here: write the first and the last page, as in 525"),
        ({"pages": 12}, 'pages: `12` is no text here: put it in quotes, "12"'),
        ({"bits": {"weights": 0}}, f"bits.weights: `0` is not right here: {BITS}"),
        ({"bits": {"weights": "1.58"}}, f"bits.weights: `1.58` is not right here: {BITS}"),
        ({"bits": {"weights": "8-2"}}, f"bits.weights: `8-2` is not right here: {BITS}"),
        ({"bits": {"weights": True}}, f"bits.weights: `true` is not right here: {BITS}"),
        ({"bits": {"weights": (1, 2)}}, f"bits.weights: a list is not right here: {BITS}"),
        (
            {"bits": 1},
            "bits: `1` is not right here: write a mapping, {weights: ..., activations: ..., gradients: ..., ",
        ),
        (
            {"links": {"arxiv": "abs/1603.05279v2"}},
            'links.arxiv: `abs/1603.05279v2` is not right here: write the identifier alone, in quotes: "1603.05279"',
        ),
        (
            {"links": {"arxiv": "cs/0112017"}},
            "links.arxiv: `cs/0112017` is not right here: identifiers from before April 2007 have no key of their",
        ),
        ({"links": {"arxiv": "x"}}, "links.arxiv: `x` is not right here: write the identifier without `arXiv:`, addr"),
        (
            {"links": {"doi": "https://doi.org/10.1007/978-3_32"}},
            "links.doi: `https://doi.org/10.1007/978-3_32` is not right here: write the DOI alone: 10.1007/978-3_32",
        ),
        ({"links": {"doi": "978"}}, "links.doi: `978` is not right here: write the DOI without the address before it,"),
        (
            {"links": {"openreview": "a b"}},
            "links.openreview: `a b` is not right here: write the forum id alone, as in",
        ),
        ({"links": {"url": "ftp://a.example"}}, f"links.url: `ftp://a.example` is not right here: {ADDRESS}"),
        ({"links": {"pdf": "javascript:alert(1)"}}, f"links.pdf: `javascript:alert(1)` is not right here: {ADDRESS}"),
        ({"code": ({"url": "www.a.example"},)}, f"code[0].url: `www.a.example` is not right here: {ADDRESS}"),
        (
            {"code": ({"url": "https://a.example", "official": "yes"},)},
            "code[0].official: `yes` is not right here: write true or false, without quotes",
        ),
        (
            {"code": ("https://a.example",)},
            "code[0]: `https://a.example` is not right here: write a mapping, {url: ..., official: ..., framework",
        ),
        ({"implementation": "xnor_net.py"}, "implementation: `xnor_net.py` is not right here: write family/module, as"),
        ({"listed_in": ("x",)}, "listed_in[0]: `x` is not right here: write list/section, as in quantization/weights-"),
        ({"notes": ""}, "notes: an empty text is not right here: write 3 to 8 sentences"),
    ],
)
def test_each_misfit_says_what_to_write(changes: dict[str, Any], message: str) -> None:
    found = findings(**changes)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_missing_value_is_told_by_the_parser_alone() -> None:
    record, faults = fit(GOOD | {"title": None}, Record, file="f", parsed=Parsed({}))
    assert (record, faults) == (None, [])


def test_a_key_that_is_missing_is_reported_below_its_neighbour() -> None:
    parsed = parse(b"title: x\nauthors: [A]\nclaims:\n  - says: it works\n", "f")
    assert parsed.data is not None
    _, faults = fit(parsed.data | {"id": "x", "year": 2016}, Record, file="f", parsed=parsed)
    lines = {fault.path: fault.line for fault in faults}
    assert lines == {
        "venue": 2,
        "kind": 2,
        "tags": 2,
        "topics": 2,
        "links": 2,
        "implementation": 2,
        "claims[0].id": 4,
        "claims[0].where": 4,
        "notes": 3,
    }


def test_unsafe_text_does_not_fit() -> None:
    parsed = parse(b"notes: <b>x\n", "f")
    record, faults = fit(GOOD | {"notes": "<b>x"}, Record, file="f", parsed=parsed)
    assert record is None
    assert [str(fault) for fault in faults] == [
        "f:1: notes: `<b>x` looks like an HTML tag: put it in `backticks`, or a space after `<`"
    ]


def test_an_escape_does_not_hide_unsafe_text() -> None:
    parsed = parse(rb'title: "\x3cscript>"', "f")
    assert parsed.data == {"title": "<script>"}
    _, faults = fit(GOOD | parsed.data, Record, file="f", parsed=parsed)
    assert [fault.path for fault in faults] == ["title"]


def test_the_path_of_a_part_comes_first() -> None:
    parsed = parse(b"one:\n  rows:\n    - {year: x}\n", "f")
    _, faults = fit({"year": "2016"}, ListRow, file="f", parsed=parsed, prefix="one.rows[0]")
    assert [(fault.path, fault.line) for fault in faults] == [
        ("one.rows[0].record", 3),
        ("one.rows[0].title", 3),
        ("one.rows[0].year", 3),
    ]


def test_words_of_other_models() -> None:
    value = {"title": "T", "description": "D", "sections": ({"id": "a", "title": "A", "rows": ()},)}
    _, faults = fit(value, ReadingList, file="f", parsed=Parsed({}))
    assert [f"{fault.path}: {fault.message}" for fault in faults] == [
        "sections[0].rows: the list is empty: write at least one item"
    ]


def test_a_doubt_goes_where_the_value_is_wrong_anyway() -> None:
    faults = (Fault("f", 1, "a", "fault"),)
    doubts = (Fault("f", 2, "b", "doubt"), Fault("f", 3, "c", "doubt"))
    wrong = [Fault("f", 2, "b", "wrong")]
    assert merge(Parsed({}, faults, doubts), wrong) == [faults[0], doubts[1], wrong[0]]
