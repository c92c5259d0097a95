from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qkb.errors import UsageError
from qkb.library import Library
from qkb.paths import NoLibraryError
from qkb.records.model import Record

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import LibraryMaker

ALL = ["tiny-sign", "scaled-sign", "wide-steps"]


def ids(library: LibraryMaker, **filters: Any) -> list[str]:
    return [entry.id for entry in Library.open(library.root).query(**filters)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ALL),
        ({"tags": "bnn"}, ["tiny-sign", "scaled-sign"]),
        ({"tags": "BNN"}, ["tiny-sign", "scaled-sign"]),
        ({"tags": {"hardware", "qnn"}}, ["scaled-sign", "wide-steps"]),
        ({"tags": "other"}, []),
        ({"tags": set()}, []),
        ({"years": 2016}, ["scaled-sign"]),
        ({"years": "2016.."}, ["scaled-sign", "wide-steps"]),
        ({"years": "..2015"}, ["tiny-sign"]),
        ({"years": range(2015, 2017)}, ["tiny-sign", "scaled-sign"]),
        ({"years": range(2015, 2018, 2)}, ["tiny-sign", "wide-steps"]),
        ({"years": range(2015, 2015)}, []),
        ({"years": [2015, "2017.."]}, ["tiny-sign", "wide-steps"]),
        ({"venues": "fabconf"}, ["tiny-sign"]),
        ({"venues": "Fabricated  Journal of BITS"}, ["scaled-sign"]),
        ({"venues": ["FABJ", "arxiv"]}, ["scaled-sign", "wide-steps"]),
        ({"authors": "LIND"}, ["tiny-sign", "scaled-sign"]),
        ({"authors": "ada l"}, ["tiny-sign", "scaled-sign"]),
        ({"authors": "ode ada"}, []),
        ({"topics": "ternary"}, ["wide-steps"]),
        ({"topics": "Only the"}, None),
        ({"bits": "w1"}, ["tiny-sign", "scaled-sign"]),
        ({"bits": "w1a1"}, ["scaled-sign"]),
        ({"bits": "w4"}, ["wide-steps"]),
        ({"bits": "w8..9"}, ["wide-steps"]),
        ({"bits": "w9"}, []),
        ({"bits": "afp"}, ["wide-steps"]),
        ({"bits": "wfp"}, []),
        ({"bits": "g4"}, []),
        ({"bits": ["a1", "afp"]}, ["scaled-sign", "wide-steps"]),
        ({"has": "code"}, ["scaled-sign"]),
        ({"has": "official-code"}, ["scaled-sign"]),
        ({"has": "arxiv"}, ["tiny-sign", "wide-steps"]),
        ({"has": "doi"}, ["scaled-sign"]),
        ({"has": "implementation"}, ["tiny-sign", "scaled-sign"]),
        ({"has": "claims"}, ALL),
        ({"has": "fpga"}, []),
        ({"kind": "preprint"}, ["wide-steps"]),
        ({"lists": "small-list"}, ["tiny-sign", "scaled-sign"]),
        ({"lists": "small-list/two"}, ["scaled-sign"]),
        ({"ids": ["wide-steps", "no-such"]}, ["wide-steps"]),
        ({"text": "popcount"}, ["scaled-sign"]),
        ({"text": "popc*"}, ["scaled-sign"]),
        ({"text": "popc"}, []),
        ({"text": '"the mean magnitude"'}, ["scaled-sign"]),
        ({"text": '"magnitude mean the"'}, []),
        ({"text": ["popcount", "levels"]}, ["wide-steps", "scaled-sign"]),
        ({"text": "TinySign"}, ["tiny-sign"]),
        ({"tags": "bnn", "years": 2016, "has": "code"}, ["scaled-sign"]),
        ({"exclude": {"tags": "bnn"}}, ["wide-steps"]),
        ({"exclude": {"tags": ["hardware", "qnn"]}}, ["tiny-sign"]),
        ({"exclude": {"bits": "a1"}}, ["tiny-sign", "wide-steps"]),
        ({"exclude": {"text": "popcount"}}, ["tiny-sign", "wide-steps"]),
        ({"exclude": {"years": "..2015", "has": "doi"}}, ["wide-steps"]),
        ({"sort": "-year"}, ["wide-steps", "scaled-sign", "tiny-sign"]),
        ({"sort": "title"}, ["scaled-sign", "tiny-sign", "wide-steps"]),
        ({"sort": "venue"}, ["wide-steps", "tiny-sign", "scaled-sign"]),
        ({"sort": "-id", "limit": 2}, ["wide-steps", "tiny-sign"]),
        ({"sort": ["kind,-id"]}, ["tiny-sign", "scaled-sign", "wide-steps"]),
    ],
)
def test_query(library: LibraryMaker, filters: dict[str, Any], expected: list[str] | None) -> None:
    if expected is None or filters.get("sort") == ["kind,-id"]:
        with pytest.raises(UsageError):
            ids(library, **filters)
    else:
        assert sorted(ids(library, **filters)) == sorted(expected)
        if "sort" in filters or "text" not in filters:
            assert ids(library, **filters) == expected


def test_fpga_means_accepted_hardware_results(library: LibraryMaker) -> None:
    (library.root / "reference_impls" / "kit").mkdir(parents=True)
    assert ids(library, has="fpga") == []
    library.write("reference_impls/results/fpga/cnn/scaled-sign.json", "{}")
    assert ids(library, has="fpga") == ["scaled-sign"]
    assert ids(library, has=["fpga", "claims"]) == ids(library)
    assert ids(library, exclude={"has": "fpga"}) == ["tiny-sign", "wide-steps"]


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"tags": "bn"}, "there is no tag 'bn'. Did you mean 'bnn'?"),
        ({"tags": "zebra"}, "there is no tag 'zebra'. qkb list tags prints them all"),
        ({"topics": "ternery"}, "there is no topic 'ternery'. Did you mean 'ternary'?"),
        ({"venues": "FABCON"}, "there is no venue 'FABCON'. Did you mean 'FABCONF'?"),
        ({"lists": "small-list/three"}, "Did you mean 'small-list/two' or"),
        ({"has": "cod"}, "--has cod: Did you mean 'code'?"),
        ({"kind": "jornal"}, "--kind jornal: Did you mean 'journal'?"),
        ({"sort": "yaer"}, "--sort yaer: Did you mean 'year'?"),
        ({"sort": "relevance"}, "relevance needs --text"),
        ({"limit": 0}, "--limit 0: write a number from 1 on"),
        ({"authors": "  "}, "--author: write a name"),
        ({"exclude": {"tag": "bnn"}}, "exclude: there is no filter 'tag'. Did you mean 'tags'?"),
    ],
)
def test_what_is_not_known_is_a_mistake(library: LibraryMaker, filters: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        ids(library, **filters)
    assert message in str(error.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(text=st.text(max_size=30))
def test_no_text_is_a_syntax_error(library: LibraryMaker, text: str) -> None:
    opened = Library.open(library.root)
    try:
        found = opened.query(text=text)
    except UsageError as error:
        assert "no word to search for" in str(error)  # noqa: PT017 (most texts raise nothing)
    else:
        assert {entry.id for entry in found} <= set(ALL)


def test_very_many_values(library: LibraryMaker) -> None:
    many = [f"x{number}" for number in range(40000)]
    assert ids(library, ids=[*many, "tiny-sign"]) == ["tiny-sign"]
    assert ids(library, years=list(range(1000, 2016))) == ["tiny-sign"]
    assert ids(library, exclude={"years": list(range(1000, 2016))}) == ["scaled-sign", "wide-steps"]
    assert ids(library, exclude={"ids": ["tiny-sign", "wide-steps"]}) == ["scaled-sign"]
    assert len(ids(library, limit=10**30)) == 3
    with pytest.raises(UsageError, match="101 words are too many; write up to 100"):
        ids(library, text="the " * 101)


def test_titles_weigh_more_than_notes(library: LibraryMaker) -> None:
    library.record("in-notes", notes="Zebra here. Nothing else. Nothing more.\n")
    library.record("in-title", title="A Zebra in the Title")
    assert ids(library, text="zebra") == ["in-title", "in-notes"]
    assert ids(library, text="zebra", sort="id") == ["in-notes", "in-title"]


def test_accents_do_not_matter(library: LibraryMaker) -> None:
    library.record("accented", authors=["Sébastien Løvås"], notes="Überraschung. Two. Three.\n")
    assert ids(library, authors="sebastien lovas") == ["accented"]
    assert ids(library, authors="SÉBASTIEN") == ["accented"]
    assert ids(library, text="uberraschung") == ["accented"]


def test_a_term_that_only_records_know_can_be_asked_for(library: LibraryMaker) -> None:
    library.record("odd", venue="ODDCONF", topics=["odd-topic"])
    assert ids(library, venues="oddconf") == ["odd"]
    assert ids(library, topics="odd-topic") == ["odd"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny-sign", ["tiny-sign"]),
        ("Tiny-Sign", ["tiny-sign"]),
        ("TinySign", ["tiny-sign"]),
        ("tiny sign: networks with one-bit weights", ["tiny-sign"]),
        ("1511.00001", ["tiny-sign"]),
        ("arXiv:1511.00001v3", ["tiny-sign"]),
        ("https://arxiv.org/abs/1511.00001v2", ["tiny-sign"]),
        ("http://arxiv.org/pdf/1511.00001.pdf", ["tiny-sign"]),
        ("10.5555/scaled.sign", ["scaled-sign"]),
        ("doi:10.5555/SCALED.sign", ["scaled-sign"]),
        ("https://doi.org/10.5555/scaled.sign", ["scaled-sign"]),
        ("wide", ["wide-steps"]),
        ("", []),
        ("%", []),
        ("no-such", []),
    ],
)
def test_lookup(library: LibraryMaker, name: str, expected: list[str]) -> None:
    assert [entry.id for entry in Library.open(library.root).lookup(name)] == expected


def test_a_beginning_may_be_shared(library: LibraryMaker) -> None:
    library.record("tiny-other")
    assert [entry.id for entry in Library.open(library.root).lookup("tiny")] == ["tiny-other", "tiny-sign"]
    assert [entry.id for entry in Library.open(library.root).lookup("tiny-sign")] == ["tiny-sign"]


def test_records_are_validated_records(library: LibraryMaker) -> None:
    opened = Library.open(library.root)
    record = opened.record("scaled-sign")
    assert isinstance(record, Record)
    assert (record.id, record.year, record.title) == ("scaled-sign", 2016, "Scaled Sign Networks")
    assert record.bits is not None
    assert record.bits.activations == 1
    assert list(opened.records()) == sorted(ALL)
    assert opened.records()["scaled-sign"] == record


def test_an_unknown_record_is_a_key_error(library: LibraryMaker) -> None:
    with pytest.raises(KeyError):
        Library.open(library.root).record("no-such")


def test_the_vocabulary_is_that_of_the_files(library: LibraryMaker) -> None:
    vocabulary = Library.open(library.root).vocabulary
    assert list(vocabulary.tags) == ["qnn", "bnn", "hardware", "other"]
    assert list(vocabulary.lists) == ["small-list"]


def test_an_open_library_answers_from_the_moment_it_was_opened(library: LibraryMaker) -> None:
    opened = Library.open(library.root)
    before = opened.query()
    library.record("later")
    assert opened.query() == before
    opened.refresh()
    assert "later" in [entry.id for entry in opened.query()]


def test_below_the_root_the_library_is_found_too(library: LibraryMaker) -> None:
    assert len(Library.open(library.papers / "2016").query()) == 3
    assert len(Library.open(library.place).query()) == 3


def test_no_library(tmp_path: Path) -> None:
    with pytest.raises(NoLibraryError, match="--root"):
        Library.open(tmp_path)


def test_a_query_imports_nothing_heavy() -> None:
    code = (
        "import sys; import qkb.commands.query, qkb.formats.to_table; from qkb.cli import parser_of;"
        "parser_of('query').parse_args(['--tag', 'bnn']);"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "yaml",
        "pydantic",
        "torch",
        "numpy",
        "jinja2",
        "typing",
        "pathlib",
        "dataclasses",
        "inspect",
        "json",
        "shutil",
    }
    assert "qkb.index" in loaded
    assert not heavy & set(loaded)
