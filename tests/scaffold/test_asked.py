from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from qkb.errors import UsageError
from qkb.imports.work import Work
from qkb.records.faults import FaultsError
from qkb.scaffold.asked import author, entry, identifier

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = (
    "@inproceedings{x, title={Fab{N}et}, author={L{\\o}v{\\aa}s, Ada and Bo Ruiz}, year=2018, booktitle={FABCONF}}\n"
)


@pytest.mark.parametrize(
    ("text", "work"),
    [
        ("1603.05279", Work(arxiv="1603.05279")),
        (" 1603.05279v4 ", Work(arxiv="1603.05279")),
        ("arXiv: 1603.05279", Work(arxiv="1603.05279")),
        ("https://arxiv.org/pdf/1603.05279v2.pdf", Work(arxiv="1603.05279")),
        ("10.48550/arXiv.1603.05279", Work(arxiv="1603.05279")),
        ("10.1109/ICCV.2019.00001", Work(doi="10.1109/ICCV.2019.00001")),
        ("doi:10.1109/X(1)2", Work(doi="10.1109/X(1)2")),
        ("https://dx.doi.org/10.1109/x", Work(doi="10.1109/x")),
        ("openreview:BkgXT24tDS", Work(openreview="BkgXT24tDS")),
        ("https://openreview.net/forum?id=BkgXT24tDS&noteId=x", Work(openreview="BkgXT24tDS")),
    ],
)
def test_identifiers(text: str, work: Work) -> None:
    assert identifier(text) == work


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("xnor-nett", "neither an identifier nor the id of a record"),
        ("", "neither"),
        ("../../etc/passwd", "neither"),
        ("https://proceedings.example/paper.html", "give --title and --url"),
        ("javascript:alert(1)", "neither"),
        ("cs/0702001", "before 2007-04"),
        ("https://arxiv.org/abs/cs.LG/0702001", "before 2007-04"),
        ("9913.05279", "neither"),
    ],
)
def test_what_is_no_identifier(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        identifier(text)


def test_an_entry(tmp_path: Path) -> None:
    file = tmp_path / "one.bib"
    file.write_text(ENTRY, encoding="utf-8")
    work = entry(str(file))
    assert (work.title, work.authors, work.year, work.venue) == ("FabNet", ("Ada Løvås", "Bo Ruiz"), 2018, "FABCONF")


def test_an_entry_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(ENTRY.encode())

    monkeypatch.setattr("sys.stdin", Stdin)
    assert entry("-").title == "FabNet"


@pytest.mark.parametrize(("text", "message"), [("no entry", "no entry in it"), (ENTRY + ENTRY, "there are 2 entries")])
def test_one_entry_is_wanted(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "x.bib"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        entry(str(file))


def test_a_broken_entry_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "x.bib"
    file.write_text("\n@article{x, title={Never closed\n", encoding="utf-8")
    with pytest.raises(FaultsError, match=r"x\.bib:2: "):
        entry(str(file))


def test_authors_in_either_order() -> None:
    assert [author("Lind, Ada"), author(" Ada Lind "), author("van der Maaten, Laurens")] == [
        "Ada Lind", "Ada Lind", "Laurens van der Maaten",
    ]  # fmt: skip
