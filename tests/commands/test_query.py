from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main
from qkb.commands import query
from qkb.errors import UsageError
from qkb.library import Library

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

TABLE = """\
tiny-sign    2015  FABCONF  bnn           w1        Tiny Sign: Networks with One-Bit Weights
scaled-sign  2016  FABJ     bnn,hardware  w1a1      Scaled Sign Networks
wide-steps   2017  arXiv    qnn           w2..8afp  Wide Steps for Ternary and Wider Weights
"""


def ask(library: LibraryMaker, *words: str) -> int:
    return main(["query", *words, "--root", str(library.root)])


def test_run_is_the_query_of_the_library(library: LibraryMaker) -> None:
    opened = Library.open(library.root)
    assert query.run(opened, tags="bnn", years=2016) == opened.query(tags="bnn", years=2016)


def test_without_options_all_records(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(library) == 0
    assert capsys.readouterr() == (TABLE, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--tag bnn --year 2016", ["scaled-sign"]),
        ("--tag qnn --tag hardware", ["scaled-sign", "wide-steps"]),
        ("--year 2016..", ["scaled-sign", "wide-steps"]),
        ("--year ..2015 --year 2017", ["tiny-sign", "wide-steps"]),
        ("--venue fabj", ["scaled-sign"]),
        ("--author moss", ["wide-steps"]),
        ("--topic ternary", ["wide-steps"]),
        ("--bits w1a1", ["scaled-sign"]),
        ("--kind preprint", ["wide-steps"]),
        ("--list small-list/one", ["tiny-sign", "scaled-sign"]),
        ("--has code --has doi", ["scaled-sign"]),
        ("--id wide-steps", ["wide-steps"]),
        ("--text popc*", ["scaled-sign"]),
        ("--not tag=bnn", ["wide-steps"]),
        ("--not tag=hardware --not year=2017", ["tiny-sign"]),
        ("--sort -year", ["wide-steps", "scaled-sign", "tiny-sign"]),
        ("--sort=-venue", ["scaled-sign", "tiny-sign", "wide-steps"]),
        ("--sort kind", None),
        ("--sort id --limit 1", ["scaled-sign"]),
        ("--sort -year,id --limit 1", ["wide-steps"]),
    ],
)
def test_options(
    library: LibraryMaker, capsys: pytest.CaptureFixture[str], words: str, expected: list[str] | None
) -> None:
    code = ask(library, *words.split(), "--format", "ids")
    printed, told = capsys.readouterr()
    if expected is None:
        assert (code, printed) == (2, "")
        assert "--sort kind" in told
    else:
        assert (code, printed.split(), told) == (0, expected, "")


def test_nothing_found(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(library, "--tag", "other") == 1
    assert capsys.readouterr() == ("", "qkb query: no record matches\n")
    assert ask(library, "--tag", "other", "--quiet", "--format", "json") == 1
    assert capsys.readouterr() == ("[]\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tag", "bnm"], "qkb query: there is no tag 'bnm'. Did you mean 'bnn'?\n"),
        (["--not", "tag"], "qkb query: --not tag: Write --not OPTION=VALUE, such as --not tag=hardware\n"),
        (["--not", "tags=bnn"], "qkb query: --not tags=bnn: Did you mean 'tag'?\n"),
        (["--not", "tag=bnm"], "qkb query: there is no tag 'bnm'. Did you mean 'bnn'?\n"),
        (["--year", "twenty"], "write a year (2017)"),
        (["--limit", "-3"], "--limit -3: write a number from 1 on"),
        (["--limit", "many"], "invalid int value: 'many'"),
        (["--format", "xml"], "invalid choice: 'xml'"),
        (["--tags", "bnn"], "there is no '--tags' here. Did you mean '--tag'?"),
        (["bnn"], "there is no 'bnn' here."),
        (["--text", "&"], "no word to search for"),
        (["--tag"], "expected one argument"),
    ],
)
def test_wrong_usage(library: LibraryMaker, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert ask(library, *words) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert message in told
    assert "Traceback" not in told


def test_options_are_not_guessed(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(library, "--form", "ids") == 2
    assert "Did you mean '--format'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "bibtex", "csl", "ris", "markdown", "yaml", "ids", "table"])
def test_formats(library: LibraryMaker, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert ask(library, "--id", "scaled-sign", "--format", name) == 0
    printed, told = capsys.readouterr()
    assert "scaled-sign" in printed
    assert told == ""


def test_output_is_written_whole(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    target = library.root / "out.json"
    target.write_text("what was there")
    assert ask(library, "--format", "json", "--output", str(target)) == 0
    assert capsys.readouterr() == ("", "")
    assert [record["id"] for record in json.loads(target.read_text())] == ["tiny-sign", "scaled-sign", "wide-steps"]
    assert sorted(path.name for path in library.root.iterdir()) == [".qkb", "out.json", "papers"]


def test_output_where_nothing_can_be_written(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(library, "--output", str(library.root / "no" / "such" / "folder")) == 1
    assert "qkb query: No such file or directory" in capsys.readouterr().err


def test_faulty_files_are_told_of(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    library.write("papers/2018/broken.yaml", "title: [")
    told = "1 file has faults and may be missing from the answer; see qkb validate\n"
    assert ask(library) == 0
    assert capsys.readouterr() == (TABLE, f"qkb: {told}")
    library.write("papers/2018/worse.yaml", "]")
    assert ask(library) == 0
    assert capsys.readouterr().err == "qkb: 2 files have faults and may be missing from the answer; see qkb validate\n"
    assert ask(library, "--quiet") == 0
    assert capsys.readouterr() == (TABLE, "")


def test_on_a_terminal_the_table_fits(
    library: LibraryMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr(query, "on_terminal", lambda _: True)
    assert ask(library) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "YEAR", "VENUE", "TAGS", "BITS", "TITLE"]
    assert max(map(len, lines)) <= 70
    assert lines[3].endswith("…")


def test_what_stands_before_an_equals_sign_has_to_be_an_option() -> None:
    assert query.excluded(["--tag=a=b"]) == {"tags": ["a=b"]}
    with pytest.raises(UsageError, match="OPTION is one of tag, topic"):
        query.excluded(["zebra=1"])
