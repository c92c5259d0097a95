from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from qkb.errors import UsageError
from qkb.imports import sources
from qkb.records.faults import FaultsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "start", "form"),
    [
        ("a.bib", b"- x", "bibtex"),
        ("A.MD", b"@article{a,", "markdown"),
        ("a.json", b"", "csl"),
        ("a.ris", b"", "ris"),
        ("-", b'[\n {"title": 1}]', "csl"),
        ("-", b"[]", "csl"),
        ("-", b"[a link](x)", "markdown"),
        ("-", b"\xef\xbb\xbfTY  - JOUR", "ris"),
        ("a.txt", b"% x@y.z\n@article{key,\n", "bibtex"),
        ("-", b"@string(a = {b})", "bibtex"),
        ("README", b"# Papers\n- a @mention (x)", "markdown"),
        ("-", b"", "markdown"),
    ],
)
def test_format_of(name: str, start: bytes, form: str) -> None:
    assert sources.format_of(name, start) == form


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    target = tmp_path / "a.bib"
    target.write_bytes("@book{a, title = {Bits über alles}}".encode(encoding))
    assert [row.work.title for row in sources.read_file(str(target)).rows if row.work] == ["Bits über alles"]


def test_no_text(tmp_path: Path) -> None:
    target = tmp_path / "a.bib"
    target.write_bytes(b"@book{a,\n title = {\xff}}")
    with pytest.raises(FaultsError, match=r"a\.bib:2: this is no UTF-8"):
        sources.read_file(str(target))


def test_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_BYTES", 10)
    target = tmp_path / "a.md"
    target.write_text("- " + "x" * 20)
    with pytest.raises(FaultsError, match="longer than"):
        sources.read_file(str(target))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"- A Title of a Net")))
    assert len(sources.read_file("-").rows) == 1


def test_unknown_format() -> None:
    with pytest.raises(UsageError, match="there is no format 'xml'"):
        sources.read_file("-", "xml")
