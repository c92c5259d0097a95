from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from qkb.records.faults import FaultsError
from qkb.records.layout import HEADER, lay_out, same, scalar, wrap
from qkb.records.model import Record, RecordFields
from qkb.records.text import UNSEEN
from qkb.records.yaml_lines import parse


def laid(text: str) -> str:
    """Return the layout of a text; a second layout must not change it."""
    once = lay_out(parse(text.encode(), "f"), "f")
    assert lay_out(parse(once.encode(), "f"), "f") == once
    return once


MESSY = """\
# About this record.
listed_in:
- model-quantization/2016
- "quantization/weights-and-activations"
notes: "A filter has a scale, which is the mean magnitude of its weights; the product of two such filters becomes \\
  XNOR and popcount.\\n\\n- an item\\n- another item\\n"
implementation: binary/xnor_net
authors: ["Mohammad Rastegari", 'Vicente Ordonez', Joseph Redmon, Ali Farhadi, Mohammad Rastegari, Vicente Ordonez]
title: 'XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks' # as printed
kind: conference
venue: ECCV
bits:
  activations: 1
  weights: "2..8" # not 1
links:
  doi: "10.1007/978-3-319-46493-0_32"
  arxiv: 1603.05279
tags: ["bnn"]

topics:
  # The main one.
  - weights-and-activations
  - scaling-factors
code:
  - framework: torch7
    official: true
    url: https://github.com/allenai/XNOR-Net
  - url: https://github.com/a-very-long-name-of-an-organisation/and-a-very-long-name-of-a-repository-as-well
    framework: pytorch
claims: [{where: "Sec. 3.1, Eq. 6", says: "alpha = mean|W| minimises ||W - alpha B||^2", id: scale-is-optimal}]
aliases: []
builds_on: [binaryconnect, bnn]
# The end.
"""

TIDY = f"""\
{HEADER}
title: "XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks"  # as printed
authors: [Mohammad Rastegari, Vicente Ordonez, Joseph Redmon, Ali Farhadi, Mohammad Rastegari,
          Vicente Ordonez]
venue: ECCV
kind: conference
tags: [bnn]
topics:
  # The main one.
  - weights-and-activations
  - scaling-factors
bits:
  weights: 2..8  # not 1
  activations: 1
links: {{arxiv: "1603.05279", doi: 10.1007/978-3-319-46493-0_32}}
code:
  - {{url: "https://github.com/allenai/XNOR-Net", official: true, framework: torch7}}
  - url: https://github.com/a-very-long-name-of-an-organisation/and-a-very-long-name-of-a-repository-as-well
    framework: pytorch
aliases: []
builds_on: [binaryconnect, bnn]
implementation: binary/xnor_net
claims:
  - id: scale-is-optimal
    says: alpha = mean|W| minimises ||W - alpha B||^2
    where: Sec. 3.1, Eq. 6
# About this record.
listed_in: [model-quantization/2016, quantization/weights-and-activations]
notes: |
  A filter has a scale, which is the mean magnitude of its weights; the product of two such filters becomes
  XNOR and popcount.

  - an item
  - another item
# The end.
"""


def test_the_one_layout() -> None:
    assert laid(MESSY) == TIDY
    assert laid(TIDY) == TIDY


def test_the_header_is_written_once_whatever_stood_there() -> None:
    assert laid("# yaml-language-server: $schema=elsewhere.json\ntitle: x\n") == f"{HEADER}\ntitle: x\n"
    assert laid("kind: w\n# yaml-language-server: $schema=x\ntitle: x\n") == f"{HEADER}\ntitle: x\nkind: w\n"


def test_line_ends_become_plain() -> None:
    assert laid("title: x\r\nnotes: |\r\n  a\r\n  b\r\n") == f"{HEADER}\ntitle: x\nnotes: |\n  a b\n"


def test_keys_that_nobody_knows_come_last() -> None:
    text = laid("zzz: {b: [1, {c: d}], a: x}\nlinks: {zzz: 1, url: 'https://a.example', arxiv: '1'}\ntitle: x\n")
    assert text == (
        f'{HEADER}\ntitle: x\nlinks: {{arxiv: "1", url: "https://a.example", zzz: 1}}\n'
        "zzz:\n  b:\n    - 1\n    - {c: d}\n  a: x\n"
    )


def test_a_long_item_makes_a_list_that_does_not_fit_stand_line_by_line() -> None:
    long = "A Title That Is Rather Long and Goes On and On and On"
    assert laid(f"aliases: [{long} Once, {long} Twice, Short]\n") == (
        f"{HEADER}\naliases:\n  - {long} Once\n  - {long} Twice\n  - Short\n"
    )


@pytest.mark.parametrize(
    ("source", "layout"),
    [
        ("tags: [a, # one\n  b]\n", "tags:\n  - a  # one\n  - b\n"),
        ("tags: [a, b] # one\n", "tags: [a, b]  # one\n"),
        ("tags: # one\n- a\n- b # two\n", "tags:  # one\n  - a\n  - b  # two\n"),
        ("code:\n- {url: x} # one\n", "code:\n  - {url: x}  # one\n"),
        ("code:\n- {url: x, # one\n  official: true}\n", "code:\n  - url: x  # one\n    official: true\n"),
        (
            "claims:\n- {id: x, says: z} # one\n",
            "claims:\n  # one\n  - id: x\n    says: z\n",
        ),
        (
            "claims:\n# one\n- says: z # two\n  # three\n  id: x\n",
            "claims:\n  # one\n  # three\n  - id: x\n    says: z  # two\n",
        ),
        ("notes: | # one\n  x\n", "notes: |  # one\n  x\n"),
        ("notes: x # one\n", "notes: |  # one\n  x\n"),
        ("title: x\n#one\n#  two  \n", "title: x\n#one\n#  two\n"),
    ],
)
def test_comments_stay(source: str, layout: str) -> None:
    assert laid(source) == f"{HEADER}\n{layout}"


@pytest.mark.parametrize(
    "source",
    [b"", b"a: [", b"a: 1\na: 2\n", b"a:\n", b"- a\n", b"a: &x 1\n", b"\xff", b"a: \x00\n"],
)
def test_what_cannot_be_read_is_not_laid_out(source: bytes) -> None:
    parsed = parse(source, "f")
    with pytest.raises(FaultsError) as caught:
        lay_out(parsed, "f")
    assert caught.value.faults == parsed.faults


def test_a_layout_that_would_lose_something_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = parse(b"title: x\nkind: w  # why\n", "f")
    for wrong in (f"{HEADER}\ntitle: x\n", f"{HEADER}\ntitle: x\nkind: w\n", f"{HEADER}\ntitle: x\nkind: z  # why\n"):
        monkeypatch.setattr("qkb.records.layout._Layout.file", lambda _self, _data, wrong=wrong: wrong)
        with pytest.raises(FaultsError, match="f:1: this file cannot be laid out without loss"):
            lay_out(parsed, "f")


@pytest.mark.parametrize(
    ("value", "block", "flow"),
    [
        ("plain", "plain", "plain"),
        ("two words", "two words", "two words"),
        ("2..8", "2..8", "2..8"),
        ("10.1007/978-3_32", "10.1007/978-3_32", "10.1007/978-3_32"),
        ("a, b", "a, b", '"a, b"'),
        ("https://a.example", "https://a.example", '"https://a.example"'),
        ("a: b", '"a: b"', '"a: b"'),
        ("a:", '"a:"', '"a:"'),
        ("a #b", '"a #b"', '"a #b"'),
        ("a#b", "a#b", "a#b"),
        ("", '""', '""'),
        (" a", '" a"', '" a"'),
        ("1.5", '"1.5"', '"1.5"'),
        ("12", '"12"', '"12"'),
        ("no", '"no"', '"no"'),
        ("null", '"null"', '"null"'),
        ("true", '"true"', '"true"'),
        ("2016-01-01", '"2016-01-01"', '"2016-01-01"'),
        ("- a", '"- a"', '"- a"'),
        ("*a*", '"*a*"', '"*a*"'),
        ("@a", '"@a"', '"@a"'),
        ('say "a"', 'say "a"', 'say "a"'),
        ('"a"', "'\"a\"'", "'\"a\"'"),
        ("'a' \"b\"", '"\'a\' \\"b\\""', '"\'a\' \\"b\\""'),
        ("it's: b", '"it\'s: b"', '"it\'s: b"'),
        ("a\\b: c", "'a\\b: c'", "'a\\b: c'"),
        ("a\nb", '"a\\nb"', '"a\\nb"'),
        ("a\u00a0b", '"a\\xA0b"', '"a\\xA0b"'),
        ("a\u3000b", '"a\\u3000b"', '"a\\u3000b"'),
        ("量子化", "量子化", "量子化"),
        (True, "true", "true"),
        (False, "false", "false"),
        (-3, "-3", "-3"),
    ],
)
def test_quotes_stand_where_they_are_needed(value: object, block: str, flow: str) -> None:
    assert scalar(value, flow=False) == block
    assert scalar(value, flow=True) == flow
    assert parse(f"a: {block}\nb: [{flow}]\n".encode(), "f").data == {"a": value, "b": (value,)}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_as_a_scalar(text: str) -> None:
    for written in (f"a: {scalar(text, flow=False)}\n", f"a: [{scalar(text, flow=True)}]\n"):
        assert yaml.safe_load(written)["a"] in (text, [text])
        parsed = parse(written.encode(), "f")
        assert parsed.doubts == ()
        if UNSEEN.search(text):
            assert [fault.message[-14:] for fault in parsed.faults] == ["remove its escape"[-14:]]
        else:
            assert parsed.data in ({"a": text}, {"a": (text,)})


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("aaa bbb ccc", ["aaa bbb", "ccc"]),
        ("aaa\nbbb\n\n\nccc", ["aaa bbb", "", "ccc"]),
        ("aaa `b c d e` f", ["aaa", "`b c d e`", "f"]),
        ("aaa $b + c + d$, e", ["aaa", "$b + c + d$,", "e"]),
        ("aaa bbb - c", ["aaa bbb -", "c"]),
        ("aaa bbb 1. c", ["aaa bbb 1.", "c"]),
        ("aaa bbb #c", ["aaa bbb #c"]),
        ("- aaa bbb ccc ddd\n- b", ["- aaa bbb ccc ddd", "- b"]),
        ("aaa:\n- bbb ccc ddd", ["aaa:", "- bbb ccc ddd"]),
        ("```\naaa  bbb  ccc\n```", ["```", "aaa  bbb  ccc", "```"]),
        ("    aaa bbb ccc\nx", ["aaa bbb", "ccc x"]),
        ("x\n\n    aaa bbb ccc  ", ["x", "", "    aaa bbb ccc"]),
        ("aaaaaaaaaaaa b", ["aaaaaaaaaaaa", "b"]),
        ("5 $ or ` 6", ["5 $ or `", "6"]),
    ],
)
def test_paragraphs_are_filled(text: str, lines: list[str]) -> None:
    assert wrap(text, 8) == lines
    assert wrap("\n".join(lines), 8) == lines


@given(st.text("ab `$-*#1.|>\n\t", max_size=80), st.integers(1, 20))
def test_filling_changes_nothing_but_spaces_and_settles(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert re.sub(r"\s+", "", "".join(lines)) == re.sub(r"\s+", "", text)
    assert wrap("\n".join(lines), width) == lines


def test_how_notes_are_broken_does_not_count() -> None:
    assert same({"notes": "a b\nc\n\nd"}, {"notes": "a\nb c\n  \n\nd\n"})
    assert not same({"notes": "a b"}, {"notes": "a\n\nb"})
    assert not same({"notes": "ab"}, {"notes": "a b"})
    assert not same({"title": "a b"}, {"title": "a\nb"})
    assert not same({"a": True}, {"a": 1})
    assert not same({"a": "1"}, {"a": 1})


slugs = st.from_regex(r"\A[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,3}\Z")
visible = st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Co", "Cn"])
titles = st.text(visible, min_size=1, max_size=70).map(lambda text: " ".join(text.split())).filter(bool)
urls = st.from_regex(r"\Ahttps?://[a-z]{1,9}\.example/[A-Za-z0-9_.~/?&=%#:-]{0,90}\Z")
widths = st.integers(1, 32) | st.sampled_from(["fp", "1..2", "8..2", "10..32"])


def some(strategy: st.SearchStrategy[Any], most: int = 6) -> st.SearchStrategy[Any]:
    return st.lists(strategy, min_size=1, max_size=most).map(tuple)


def mapping(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=parts)


records = st.fixed_dictionaries(
    {
        "title": titles,
        "authors": some(titles, 12),
        "venue": titles,
        "kind": st.sampled_from(["conference", "blog"]),
        "tags": some(st.sampled_from(["qnn", "bnn"])),
        "topics": some(slugs),
        "links": mapping(
            arxiv=st.from_regex(r"\A[0-9]{4}\.[0-9]{4,5}\Z"),
            doi=st.from_regex(r"\A10\.[0-9]{4,9}/[a-zA-Z0-9._()/:;-]{1,30}\Z"),
            openreview=st.from_regex(r"\A[A-Za-z0-9_-]{6,20}\Z"),
            url=urls,
            pdf=urls,
        ),
        "implementation": st.sampled_from(["wanted", "binary/bnn"]),
        "claims": some(st.fixed_dictionaries({"id": slugs, "says": titles, "where": titles}), 3),
        "notes": st.text(visible | st.just("\n"), min_size=1, max_size=300).filter(str.strip),
    },
    optional={
        "pages": st.from_regex(r"\A[0-9]{1,5}(-[0-9]{1,5})?\Z"),
        "bits": mapping(weights=widths, activations=widths, gradients=widths, errors=widths),
        "code": some(
            st.fixed_dictionaries({"url": urls}, optional={"official": st.booleans(), "framework": titles}), 3
        ),
        "aliases": st.just(()) | some(titles),
        "builds_on": st.just(()) | some(slugs, 12),
        "listed_in": st.just(()) | some(st.from_regex(r"\A[a-z-]{1,20}/[a-z-]{1,20}\Z")),
    },
)


@settings(max_examples=30)
@given(records, st.randoms(use_true_random=False))
def test_any_record_survives_its_layout(fields: dict[str, Any], random: Any) -> None:
    """A valid record, dumped by PyYAML in any order of keys, says the same after the layout, also to PyYAML."""
    record = Record.from_parts("x", 2016, fields)
    keys = list(fields)
    random.shuffle(keys)
    dumped = yaml.safe_dump(as_lists({key: fields[key] for key in keys}), sort_keys=False, allow_unicode=True)
    text = laid(dumped)
    data = parse(text.encode(), "f").data
    assert data is not None
    assert same(data, fields)
    assert [key for key in RecordFields.model_fields if key in fields] == list(data)
    assert Record.from_parts("x", 2016, data).model_copy(update={"notes": ""}) == record.model_copy(
        update={"notes": ""}
    )
    assert as_lists(data) == yaml.safe_load(text)


def as_lists(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: as_lists(inner) for key, inner in data.items()}
    return [as_lists(inner) for inner in data] if isinstance(data, tuple) else data
