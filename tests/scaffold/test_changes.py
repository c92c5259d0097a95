from __future__ import annotations

from typing import TYPE_CHECKING

from qkb.scaffold import changes

if TYPE_CHECKING:
    import pytest

    from tests.conftest import LibraryMaker


def test_rows(library: LibraryMaker) -> None:
    text = changes.document(library.place, ["papers/2015/tiny-sign.yaml", "README.md", "papers/2015/gone.yaml"])
    lines = text.splitlines()
    assert lines[0] == "## 1 changed record, 0 faults"
    assert len([line for line in lines if line.startswith("| <code>")]) == 1
    assert "[arxiv](https://arxiv.org/abs/1511.00001)" in text
    assert "weights 1" in text


def test_faults_of_the_changed_records(library: LibraryMaker) -> None:
    library.record("broken", 2018, venue="NOWHERE", tags=None)
    library.record("also", 2018, venue="NOWHERE")
    text = changes.document(library.place, ["papers/2018/broken.yaml"])
    assert "papers/2018/broken.yaml:" in text
    assert "unknown venue `NOWHERE`" in text
    assert "has faults: see below" in text
    assert "also" not in text


def test_what_a_record_says_is_shown_letter_by_letter(library: LibraryMaker) -> None:
    library.record("faulty", 2018, title="</pre> @everyone [x](javascript:y) <img src=x> ![i](http://a.example)")
    library.record(
        "sound", 2018, title="A | *b* [c] ~d~ @everyone #1 https://evil.example", links={"url": "https://a.example/)("}
    )
    text = changes.document(library.place, ["papers/2018/faulty.yaml", "papers/2018/sound.yaml"])
    assert "<img" not in text
    assert "@everyone" not in text
    assert text.count("</pre>") == 1
    row = next(line for line in text.splitlines() if "sound" in line and line.startswith("|"))
    assert row.count("|") == len(changes.HEADER) + 1
    assert "*b*" not in row
    assert "https://evil" not in row
    assert "[url](https://a.example/%29%28)" in row


def test_a_file_that_cannot_be_read(library: LibraryMaker) -> None:
    library.write("papers/2018/odd.yaml", b"\x00 <script>")
    text = changes.document(library.place, ["papers/2018/odd.yaml"])
    assert "has faults" in text
    assert "<script" not in text


def test_a_misnamed_file_and_a_list_that_lost_its_record(library: LibraryMaker) -> None:
    library.record("odd Name", 2018)
    (library.root / "papers/2015/tiny-sign.yaml").unlink()
    text = changes.document(library.place, ["papers/2018/odd Name.yaml"])
    assert "`odd Name` is no id" in text
    assert "small-list.yaml:" in text
    assert "scaled-sign.yaml" not in text  # it builds on what is gone, but is not changed


def test_the_program(
    library: LibraryMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(library.root)
    assert changes.main(["papers/2015/tiny-sign.yaml"]) == 0
    assert capsys.readouterr().out.startswith("## 1 changed record, 0 faults\n")
