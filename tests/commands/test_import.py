from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from qkb.cli import main
from qkb.commands import import_
from qkb.errors import UsageError
from qkb.paths import Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import LibraryMaker

LIST = """\
# Nets
- [A New Net](https://arxiv.org/abs/1901.00001)
- Tiny Sign: Networks with One-Bit Weights
"""
MIXED = """\
- A Yearless Title
- Scaled Sign Networks, CVPR 2010
- Hm
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A list with one new and one known work."""
    target = tmp_path / "list.md"
    target.write_text(LIST)
    return target


def take(library: LibraryMaker, *words: Any) -> int:
    return main(["import", *map(str, words), "--root", str(library.root)])


def records(library: LibraryMaker) -> set[str]:
    return {path.relative_to(library.papers).as_posix() for path in library.papers.glob("[12]*/*")}


def test_a_dry_run_writes_nothing(library: LibraryMaker, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = records(library)
    assert take(library, source) == 0
    printed, told = capsys.readouterr()
    assert printed == (
        f"{source}:2  new    a-new-net  2019  A New Net [the year is that of the arXiv id]\n"
        f"{source}:3  known  tiny-sign  -     Tiny Sign: Networks with One-Bit Weights\n"
    )
    assert told == (
        "qkb import: 2 rows: 1 new, 1 known, 0 ambiguous, 0 not understood; 1 part passed over\n"
        "qkb import: nothing is written; --write writes drafts of the new works\n"
    )
    assert records(library) == before


def test_write_writes_drafts_and_may_be_repeated(
    library: LibraryMaker, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = records(library)
    assert take(library, source, "--write") == 0
    assert "wrote papers/2019/a-new-net.yaml" in capsys.readouterr().err
    target = library.papers / "2019" / "a-new-net.yaml"
    assert target.read_text() == (
        "# yaml-language-server: $schema=../schema.json\n"
        "# draft from list.md:2: [A New Net](https://arxiv.org/abs/1901.00001)\n"
        "title: A New Net\n"
        'links: {arxiv: "1901.00001"}\n'
        "implementation: wanted\n"
    )
    assert main(["validate", str(target), "--root", str(library.root), "--quiet"]) == 1
    told = [line.split(": ") for line in capsys.readouterr().out.splitlines()]
    missing = {path for _, path, message, *_ in told if message == "this key is missing"}
    assert missing == {"authors", "venue", "kind", "tags", "topics", "claims", "notes"}
    assert main(["fmt", "--check", str(target), "--root", str(library.root), "--quiet"]) == 0
    capsys.readouterr()
    assert take(library, source, "--write") == 0
    assert "0 new, 2 known" in capsys.readouterr().err
    assert records(library) == {*before, "2019/a-new-net.yaml"}


def test_existing_files_stay(library: LibraryMaker, source: Path) -> None:
    target = library.write("papers/2019/a-new-net.yaml", "title: Something Quite Different\n")
    assert take(library, source, "--write", "--quiet") == 0
    assert target.read_text() == "title: Something Quite Different\n"
    assert "2019/a-new-net-2.yaml" in records(library)


def test_what_is_not_sure_is_shown_with_its_line(
    library: LibraryMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "mixed.md"
    source.write_text(MIXED)
    assert take(library, source, "--format", "json") == 1
    printed, told = capsys.readouterr()
    data = json.loads(printed)
    assert data["totals"] == {"rows": 3, "new": 1, "known": 0, "ambiguous": 1, "not understood": 1}
    assert [(row["line"], row["status"], row["why"]) for row in data["rows"]] == [
        (1, "new", "no year is known"),
        (2, "ambiguous", "the title is the same, but the year is 2010, not 2016"),
        (3, "not understood", "no title can be read from this"),
    ]
    assert "skipped" not in data
    assert "1 new work without a year" in told
    assert take(library, source, "--write") == 1
    assert records(library) == {"2015/tiny-sign.yaml", "2016/scaled-sign.yaml", "2017/wide-steps.yaml"}
    assert take(library, source, "--write", "--year-folder", "2020", "--quiet") == 1
    assert "2020/a-yearless-title.yaml" in records(library)


def test_verbose_lists_what_was_passed_over(
    library: LibraryMaker, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert take(library, source, "--verbose") == 0
    assert f"{source}:1: passed over: a heading: Nets\n" in capsys.readouterr().err
    assert take(library, source, "--verbose", "--format", "json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["skipped"][0]["why"] == "a heading"


def test_standard_input_and_lines_of_json(
    library: LibraryMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"@book{a, title={A Book}, year=2001}")))
    assert take(library, "-", "--format", "jsonl", "--quiet") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["file"], row["ids"], row["path"], row["year"]) == ("-", ["a-book"], "papers/2001/a-book.yaml", 2001)
    assert row["missing"] == ["authors", "venue", "tags", "topics", "links", "claims", "notes"]


def test_nothing_is_written_where_one_file_cannot_be_read(
    library: LibraryMaker, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.bib"
    bad.write_bytes(b"\xff")
    before = records(library)
    assert take(library, source, bad, "--write") == 1
    assert "bad.bib:1: this is no UTF-8" in capsys.readouterr().err
    assert take(library, source, tmp_path / "none.bib", "--write") == 1
    assert "No such file or directory" in capsys.readouterr().err
    assert records(library) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: FILE"),
        (["x.md", "--from", "xml"], "invalid choice: 'xml'"),
        (["x.md", "--year-folder", "1"], "--year-folder 1: write a year from 1940 to 2100"),
        (["x.md", "--year-folder", "soon"], "invalid int value"),
    ],
)
def test_wrong_usage(library: LibraryMaker, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert take(library, *words) == 2
    assert message in capsys.readouterr().err


def test_the_installed_copy_is_not_written_to(library: LibraryMaker, source: Path) -> None:
    place = Place(library.root, bundled=True)
    with pytest.raises(UsageError, match="installed copy"):
        import_.run(place, [str(source)], to_write=True)
    assert import_.run(place, [str(source)]).totals["rows"] == 2
