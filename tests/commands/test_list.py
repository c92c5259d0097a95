from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main
from qkb.library import Library

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

# `list` hides a built-in where it is imported by its own name.
from qkb.commands import list as list_command


def ask(library: LibraryMaker, *words: str) -> int:
    return main(["list", *words, "--root", str(library.root)])


def test_tags_in_the_order_of_the_file(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(library, "tags") == 0
    expected = (
        "qnn       1  Quantized neural networks\n"
        "bnn       2  Binarized neural networks\n"
        "hardware  1  Hardware deployment\n"
        "other     0  Other compression\n"
    )
    assert capsys.readouterr() == (expected, "")


def test_venues_are_counted(library: LibraryMaker) -> None:
    found = list_command.run(Library.open(library.root), "venues")
    assert {term["id"]: term["count"] for term in found} == {"arXiv": 1, "FABCONF": 1, "FABJ": 1}


def test_lists_come_with_their_sections(library: LibraryMaker) -> None:
    found = list_command.run(Library.open(library.root), "lists")
    assert [(term["id"], term["name"], term["count"]) for term in found] == [
        ("small-list", "A small list", 2),
        ("small-list/one", "Section one", 2),
        ("small-list/two", "Section two", 1),
    ]


def test_a_term_that_only_records_know_stands_last(library: LibraryMaker) -> None:
    library.record("odd", venue="ODDCONF", topics=["odd-topic"])
    opened = Library.open(library.root)
    assert list_command.run(opened, "topics")[-1] == {
        "id": "odd-topic",
        "name": "odd-topic",
        "description": "",
        "count": 1,
    }
    assert list_command.run(opened, "venues")[-1]["id"] == "ODDCONF"


def test_terms_for_programs(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    expected = list_command.run(Library.open(library.root), "topics")
    assert ask(library, "topics", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == expected
    assert ask(library, "topics", "--format", "jsonl") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == expected
    assert ask(library, "topics", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [{**row, "count": int(row["count"])} for row in rows] == expected
    assert ask(library, "topics", "--format", "ids") == 0
    assert capsys.readouterr().out.split() == [term["id"] for term in expected]


def test_records(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(library, "records", "--format", "ids", "--sort", "-id") == 0
    assert capsys.readouterr().out == "wide-steps\ntiny-sign\nscaled-sign\n"
    assert ask(library, "records", "--format", "bibtex") == 0
    assert capsys.readouterr().out.count("@") == 3


def test_wanted(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(library, "wanted", "--format", "ids") == 0
    assert capsys.readouterr().out == "wide-steps\n"
    (library.papers / "2017" / "wide-steps.yaml").unlink()
    assert ask(library, "wanted") == 1
    assert capsys.readouterr() == ("", "qkb list: every record has an implementation\n")


def test_no_records(bare_library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(bare_library, "records") == 1
    assert capsys.readouterr() == ("", "qkb list: there are no records\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tags", "--format", "bibtex"], "--format bibtex is for records; terms are written as table, json"),
        (["tags", "--sort", "id"], "--sort is for records"),
        (["tag"], "invalid choice: 'tag'"),
        ([], "the following arguments are required: WHAT"),
        (["records", "--sort", "relevance"], "relevance needs --text"),
    ],
)
def test_wrong_usage(library: LibraryMaker, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert ask(library, *words) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert message in told


def test_on_a_terminal_names_are_cut(
    library: LibraryMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(list_command, "on_terminal", lambda _: True)
    assert ask(library, "tags") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "RECORDS", "NAME"]
    assert ask(library, "records") == 0
    assert capsys.readouterr().out.startswith("ID ")
