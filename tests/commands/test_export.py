from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from qkb.cli import main
from qkb.commands import export
from qkb.errors import UsageError
from qkb.formats import dump
from qkb.library import Library

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import LibraryMaker


def write(library: LibraryMaker, *words: Any) -> int:
    return main(["export", *map(str, words), "--root", str(library.root)])


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.bib", "bibtex"), ("a.ris", "ris"), ("a.csv", "csv"), ("a.MD", "markdown"), ("a.json", "json"),
        ("a.jsonl", "jsonl"), ("a.yaml", "yaml"),
    ],
)  # fmt: skip
def test_the_format_follows_from_the_name(library: LibraryMaker, tmp_path: Path, name: str, form: str) -> None:
    target = tmp_path / name
    assert write(library, target) == 0
    assert target.read_bytes() == dump(Library.open(library.root).query(), form).encode()


def test_the_format_may_be_named(library: LibraryMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.json"
    assert write(library, target, "--format", "csl", "--tag", "bnn", "--year", "2016") == 0
    assert [item["id"] for item in json.loads(target.read_text())] == ["scaled-sign"]
    assert capsys.readouterr() == ("", f"qkb export: 1 record written to {target} as csl\n")


def test_sqlite(library: LibraryMaker, tmp_path: Path) -> None:
    target = tmp_path / "a.db"
    assert write(library, target, "--quiet") == 0
    with closing(sqlite3.connect(f"file:{target}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (3,)


def test_nothing_is_overwritten_unless_told(
    library: LibraryMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.bib"
    target.write_text("precious")
    assert write(library, target) == 1
    assert capsys.readouterr().err == f"qkb export: {target} exists and is left as it is; --force replaces it\n"
    assert target.read_text() == "precious"
    assert write(library, target, "--force", "--quiet") == 0
    assert target.read_text().startswith("@")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bib", "library"]


def test_a_file_made_in_the_meantime_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.bib"
    target.write_text("made by another program")
    assert not export.save(b"ours", target)
    assert target.read_text() == "made by another program"
    link = tmp_path / "link.bib"
    link.symlink_to(target)
    assert export.save(b"ours", link, force=True)
    assert link.is_symlink()
    assert target.read_bytes() == b"ours"


def test_nothing_found_writes_nothing(
    library: LibraryMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write(library, tmp_path / "a.bib", "--tag", "other") == 1
    assert capsys.readouterr().err == "qkb export: no record matches; nothing is written\n"
    assert not (tmp_path / "a.bib").exists()


def test_standard_output(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stdout", out)
    assert write(library, "-", "--format", "biblatex", "--id", "tiny-sign") == 0
    out.flush()
    assert out.buffer.getvalue().startswith(b"@inproceedings{tiny-sign,")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.xyz"], "a.xyz: the format does not follow from the name; give --format"),
        (["-"], "-: the format does not follow"),
        (["a.bib", "--format", "xml"], "invalid choice: 'xml'"),
        (["/no/such/folder/a.bib", "--tag", "bnm"], "there is no tag 'bnm'. Did you mean 'bnn'?"),
    ],
)
def test_wrong_usage(library: LibraryMaker, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert write(library, *words) == 2
    assert message in capsys.readouterr().err


def test_run(library: LibraryMaker) -> None:
    entries, data = export.run(Library.open(library.root), "ris", tags="qnn")
    assert [entry.id for entry in entries] == ["wide-steps"]
    assert data.startswith(b"TY  - UNPB\r\n")
    with pytest.raises(UsageError, match="there is no format 'xml'"):
        export.run(Library.open(library.root), "xml")
