from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

from qkb.records.fit import SLUG
from qkb.records.load import load_all, load_record, record_files
from qkb.records.model import Record

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

# Everything is wrong with this record that can be wrong with one that can still be read.
AWFUL = """\
# yaml-language-server: $schema=../schema.json
id: awful
title: "{Tiny} Signs: Networks with One-Bit Weights"
authors: [Ada Lind and Bo Ruiz, Chen Ode, "Ode, C.", chen ode, 5]
venue: FabConf
kind: conferance
pages: 20-12
tags: [bnn, bnm, bnn]
topics: [weights-only, Weights Only, weight-only, weights-only]
bits: {weights: 1.58, activations: 8..2, gradients: 4..4, weigths: 1, errors: 0}
links: {arxiv: 1511.00001, doi: "https://doi.org/10.5555/Scaled.Sign", url: javascript:alert(1)}
code:
  - {url: "https://a.example/x", official: yes}
  - https://b.example
  - {url: https://c.example/y, framework: pytorch, stars: 5}
  - {url: http://www.c.example/Y.git}
aliases: [TinySign, "Scaled sign networks!", ""]
builds_on: [awful, tiny-sing, tiny-sign, tiny-sign]
implementation: binary/tiny_sign
implementation: wanted
claims:
  - {id: one, says: it works}
  - id: one
    says: it <b>works</b>
    where:
  - id: Two
    says: it works
    where: Sec. 1
listed_in: [small-list/one, small-list/three, big-list/one, small-list]
note: |
  Nobody reads this.
notes: |
  Too short, with [a link](javascript:alert).
"""

EXPECTED = f"""\
2: id: the name of the file is the id: remove this key
3: title: `{{` looks like LaTeX: write the character itself, and no braces
4: authors[0]: `Ada Lind and Bo Ruiz` contains `and`: one author each, all of them, given name first
4: authors[2]: `Ode, C.` contains `,`: one author each, all of them, given name first
4: authors[3]: this is the same as authors[1]: keep one
4: authors[4]: `5` is no text here: put it in quotes, "5"
5: venue: `FabConf` is another name: write FABCONF
6: kind: unknown word `conferance`; write one of conference, workshop, journal, preprint, thesis, report, blog, \
software, book. Did you mean 'conference'?
7: pages: `20-12` goes down: write both pages in full, as in 525-542
8: tags[1]: unknown word `bnm`; write one of qnn, bnn, hardware, other. Did you mean 'bnn'?
8: tags[2]: this is the same as tags[0]: keep one
9: topics[1]: `Weights Only` is not right here: {SLUG}
9: topics[2]: unknown topic `weight-only`. Did you mean 'weights-only'?
9: topics[3]: this is the same as topics[0]: keep one
10: bits.activations: `8..2` goes down: write 2..8
10: bits.errors: `0` is not right here: write a whole number from 1 to 32, a range such as 2..8, or fp (ternary \
counts as 2)
10: bits.gradients: `4..4` is no range: write 4
10: bits.weights: `1.58` is not right here: write a whole number from 1 to 32, a range such as 2..8, or fp (ternary \
counts as 2)
10: bits.weigths: unknown key `weigths`. Did you mean 'weights'?
11: links.arxiv: `1511.00001` is read as a number: put it in quotes, "1511.00001"
11: links.doi: `https://doi.org/10.5555/Scaled.Sign` is not right here: write the DOI alone: 10.5555/Scaled.Sign
11: links.url: `javascript:alert(1)` is not right here: write a whole web address that begins with http:// or \
https://, without spaces or quotes
13: code[0].official: `yes` is not right here: write true or false, without quotes
14: code[1]: `https://b.example` is not right here: write a mapping, {{url: ..., official: ..., framework: ...}}
15: code[2].stars: unknown key `stars`. The keys here are url, official, framework.
16: code[3].url: this is the same as code[2].url: keep one
17: aliases[1]: papers/2016/scaled-sign.yaml has the same title or alias: one work is one record, so merge them
17: aliases[2]: an empty text is not right here: write one line of text, without spaces at its ends
18: builds_on[0]: this is the record itself: remove it
18: builds_on[1]: there is no record `tiny-sing`. Did you mean 'tiny-sign'?
18: builds_on[3]: this is the same as builds_on[2]: keep one
20: implementation: the key stands here again, first in line 19: keep one
22: claims[0].where: this key is missing: add it below `says` (place in the work: section, equation, table, abstract)
23: claims[1].id: this is the same as claims[0].id: keep one
24: claims[1].says: `<b>works` looks like an HTML tag: put it in `backticks`, or a space after `<`
25: claims[1].where: there is no value: write one, or remove the key
26: claims[2].id: `Two` is not right here: {SLUG}
29: listed_in[0]: no row of this section names awful: remove this entry, or add the row to \
papers/vocabulary/lists/small-list.yaml
29: listed_in[1]: the list small-list has no section `three`. Its sections are one, two.
29: listed_in[2]: there is no reading list `big-list`. The lists stand in papers/vocabulary/lists.
29: listed_in[3]: `small-list` is not right here: write list/section, as in quantization/weights-only
30: note: unknown key `note`. Did you mean 'notes'?
32: notes: the link to `javascript:alert` is no web address: link to http:// or https://, or put code in `backticks`
"""


def faults(library: LibraryMaker) -> list[str]:
    return [str(fault).removeprefix("papers/") for fault in load_all(library.place).faults]


def test_one_awful_record_gives_exactly_these_faults(library: LibraryMaker) -> None:
    library.write("papers/2016/awful.yaml", AWFUL)
    same = "papers/2016/awful.yaml has the same title or alias: one work is one record, so merge them"
    assert faults(library) == [
        *(f"2016/awful.yaml:{line}" for line in EXPECTED.splitlines()),
        f"2016/scaled-sign.yaml:1: title: {same}",
    ]


def test_a_good_library(library: LibraryMaker) -> None:
    papers = load_all(library.place)
    assert papers.faults == ()
    assert list(papers.records) == ["tiny-sign", "scaled-sign", "wide-steps"]
    tiny = papers.records["tiny-sign"]
    assert isinstance(tiny, Record)
    assert (tiny.id, tiny.year, tiny.links.arxiv, tiny.tags) == ("tiny-sign", 2015, "1511.00001", ("bnn",))
    assert papers.lines["tiny-sign"]["title"] == 1
    assert papers.files["wide-steps"] == "papers/2017/wide-steps.yaml"
    assert papers.wanted == ["wide-steps"]
    assert list(papers.vocabulary.lists) == ["small-list"]


def test_one_record_alone(library: LibraryMaker) -> None:
    loaded = load_record(library.papers / "2015" / "tiny-sign.yaml", library.root)
    assert loaded.record is not None
    assert loaded.record.id == "tiny-sign"
    assert loaded.faults == ()
    assert loaded.lines["links.arxiv"] == loaded.lines["links"] + 1


def test_a_record_with_a_fault_of_its_own_is_no_record(library: LibraryMaker) -> None:
    path = library.record("x", title=5)
    loaded = load_record(path, library.root)
    assert loaded.record is None
    assert [str(fault) for fault in loaded.faults] == [
        'papers/2016/x.yaml:1: title: `5` is no text here: put it in quotes, "5"'
    ]
    papers = load_all(library.place)
    assert "x" not in papers.records
    assert papers.files["x"] == "papers/2016/x.yaml"
    assert papers.faults == loaded.faults


def test_a_record_that_breaks_a_rule_is_one_all_the_same(library: LibraryMaker) -> None:
    library.record("x", notes="Too short.")
    papers = load_all(library.place)
    assert "x" in papers.records
    assert [fault.path for fault in papers.faults] == ["notes"]


def test_a_text_that_readers_take_for_something_else_is_a_fault(library: LibraryMaker) -> None:
    path = library.record("x")
    path.write_text(path.read_text().replace("A Made-Up Work Called x", "1.5"))
    assert load_record(path, library.root).record is None
    assert faults(library) == ['2016/x.yaml:1: title: `1.5` is read as a number: put it in quotes, "1.5"']


def test_the_path_says_id_and_year(library: LibraryMaker) -> None:
    path = library.record("x", 2016, id="other", year=2017)
    loaded = load_record(path, library.root)
    assert loaded.record is None
    assert [f"{fault.path}: {fault.message}" for fault in loaded.faults] == [
        "id: the name of the file is the id: remove this key",
        "year: the name of the folder is the year: remove this key",
    ]


@pytest.mark.parametrize(
    ("file", "messages"),
    [
        ("papers/x.yaml", ["a record stands in the folder of its year: papers/<year>/<id>.yaml"]),
        ("papers/2016/XNOR_Net.yaml", [f"`XNOR_Net` is no id: {SLUG}"]),
        ("papers/2016/-x.yaml", [f"`-x` is no id: {SLUG}"]),
        (f"papers/2016/{'x' * 65}.yaml", ["the id has 65 characters: shorten it to 64"]),
        ("papers/2016/x.yml", ["the name of a record ends in .yaml: rename it to x.yaml"]),
        (
            "papers/X_Y.yml",
            [
                "a record stands in the folder of its year: papers/<year>/<id>.yaml",
                "the name of a record ends in .yaml: rename it to X_Y.yaml",
                f"`X_Y` is no id: {SLUG}",
            ],
        ),
    ],
)
def test_paths_that_are_wrong(library: LibraryMaker, file: str, messages: list[str]) -> None:
    good = library.record("good")
    good.rename(library.root / file)
    found = load_all(library.place).faults
    assert sorted(fault.message for fault in found) == sorted(messages)
    assert {(fault.file, fault.line, fault.path) for fault in found} == {(file, 1, "")}


def test_the_content_of_a_file_with_a_wrong_path_is_checked_too(library: LibraryMaker) -> None:
    library.write("papers/2016/X.yaml", "title: 5\n")
    assert len(faults(library)) > 5


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("papers/notes.txt", "nothing reads this: records stand in papers/<year>/<id>.yaml"),
        ("papers/drafts/x.yaml", "nothing reads this: records stand in papers/<year>/<id>.yaml"),
        ("papers/1066/x.yaml", "nothing reads this: records stand in papers/<year>/<id>.yaml"),
        ("papers/2016/x.bib", "nothing reads this: only records, <id>.yaml, stand in the folder of a year"),
        ("papers/2016/x/y.yaml", "nothing reads this: only records, <id>.yaml, stand in the folder of a year"),
        ("papers/2016/x.yaml/y.yaml", "nothing reads this: only records, <id>.yaml, stand in the folder of a year"),
    ],
)
def test_files_that_have_no_place(library: LibraryMaker, file: str, message: str) -> None:
    library.write(file, "")
    place = "/".join(file.split("/")[: 3 if "2016" in file else 2])
    assert [(fault.file, fault.message) for fault in load_all(library.place).faults] == [(place, message)]


def test_files_that_may_stand_beside_the_records(library: LibraryMaker) -> None:
    for file in ("papers/schema.json", "papers/README.md", "papers/.DS_Store", "papers/2016/.x.yaml.1.tmp"):
        library.write(file, "")
    library.write("papers/2016/x.yaml~", "")
    assert faults(library) == []


def test_links_and_pipes_are_not_followed(library: LibraryMaker) -> None:
    outside = library.write("outside.yaml", "title: secret\n")
    (library.papers / "2016" / "link.yaml").symlink_to(outside)
    (library.papers / "2018").symlink_to(library.papers / "2016")
    os.mkfifo(library.papers / "2016" / "pipe.yaml")
    plain = "this is a link or something else that is no plain file: put a plain file here"
    assert faults(library) == [
        f"2016/link.yaml:1: {plain}",
        f"2016/pipe.yaml:1: {plain}",
        "2018:1: nothing reads this: records stand in papers/<year>/<id>.yaml",
    ]


def test_a_file_that_may_not_be_read(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    path = library.record("x")
    real = os.lstat

    def lstat(name: str) -> os.stat_result:  # permissions do not stop every user who runs tests
        if os.fspath(name) == str(path):
            raise PermissionError(13, "Permission denied", name)
        return real(name)

    monkeypatch.setattr(os, "lstat", lstat)
    assert faults(library) == ["2016/x.yaml:1: the file cannot be read: Permission denied"]


def test_faults_are_sorted_by_file_and_line(library: LibraryMaker) -> None:
    library.record("b", notes="Too short.", venue="Zzz")
    library.record("a", title=5)
    library.write("papers/2015/c.yaml", "")
    found = load_all(library.place).faults
    assert list(found) == sorted(found)
    assert [fault.file for fault in found] == [
        "papers/2015/c.yaml",
        "papers/2016/a.yaml",
        "papers/2016/b.yaml",
        "papers/2016/b.yaml",
    ]


def test_records_are_listed_by_name_without_being_read(library: LibraryMaker) -> None:
    library.write("papers/2016/broken.yaml", "[")
    files, strays = record_files(library.place)
    assert files == [
        "papers/2015/tiny-sign.yaml",
        "papers/2016/broken.yaml",
        "papers/2016/scaled-sign.yaml",
        "papers/2017/wide-steps.yaml",
    ]
    assert strays == []


def test_loading_leaves_the_garbage_collector_as_it_was(library: LibraryMaker) -> None:
    assert gc.isenabled()
    load_all(library.place)
    assert gc.isenabled()
    gc.disable()
    try:
        load_all(library.place)
        assert not gc.isenabled()
    finally:
        gc.enable()
