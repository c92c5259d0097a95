from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main
from qkb.commands.fmt import run
from qkb.records.layout import HEADER
from qkb.records.load import load_all

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

FILES = ["papers/2015/tiny-sign.yaml", "papers/2016/scaled-sign.yaml", "papers/2017/wide-steps.yaml"]


def contents(library: LibraryMaker) -> dict[str, bytes]:
    return {
        path.relative_to(library.root).as_posix(): path.read_bytes()
        for path in sorted(library.root.rglob("*"))
        if path.is_file()
    }


def test_records_are_laid_out_and_say_the_same(library: LibraryMaker) -> None:
    before = load_all(library.place).records
    vocabulary = {name: text for name, text in contents(library).items() if "vocabulary" in name}
    outcome = run(library.place)
    assert (list(outcome.changed), outcome.same, outcome.faults, outcome.skipped) == (FILES, 0, (), ())
    assert all((library.root / file).read_text().startswith(f"{HEADER}\ntitle: ") for file in FILES)
    assert load_all(library.place).records == before
    assert contents(library).keys() == vocabulary.keys() | set(FILES)
    assert {name: text for name, text in contents(library).items() if "vocabulary" in name} == vocabulary
    again = run(library.place)
    assert (again.changed, again.same) == ((), 3)


def test_the_names_of_changed_files_are_printed(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--root", str(library.root)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == FILES
    assert err == "qkb fmt: 3 files changed, 0 in the layout already\n"
    assert main(["fmt", "--root", str(library.root), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_check_writes_nothing(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    run(library.place, [str(library.papers / "2015")])
    before = contents(library)
    assert main(["fmt", "--check", "--root", str(library.root)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == FILES[1:]
    assert err == "qkb fmt: 2 files would change, 1 in the layout already\n"
    assert contents(library) == before
    run(library.place)
    assert main(["fmt", "--check", "--root", str(library.root)]) == 0


def test_paths_choose_what_is_laid_out(library: LibraryMaker) -> None:
    assert run(library.place, [str(library.root / FILES[1])]).changed == (FILES[1],)
    assert run(library.place, [str(library.papers)]).changed == (FILES[0], FILES[2])


def test_what_is_no_record_is_left_as_it_is(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(library)
    assert main(["fmt", "--root", str(library.root), str(library.papers / "vocabulary" / "topics.yaml")]) == 0
    assert capsys.readouterr().err == (
        "qkb fmt: papers/vocabulary/topics.yaml is no record and holds none; it is left as it is\n"
        "qkb fmt: 0 files changed, 0 in the layout already\n"
    )
    assert contents(library) == before


def test_paths_that_are_wrong(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--root", str(library.root), "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "qkb fmt: there is no file nowhere.yaml\n"


@pytest.mark.parametrize("content", [b"", b"a: [", b"title: x\ntitle: z\n", b"title:\n", b"a: \xff", b"\x00"])
def test_a_file_that_cannot_be_read_is_left_as_it_is(
    library: LibraryMaker, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = library.write("papers/2016/bad.yaml", content)
    assert main(["fmt", "--root", str(library.root)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == FILES
    assert err.startswith("papers/2016/bad.yaml:")
    assert err.splitlines()[-1] == ("qkb fmt: 3 files changed, 0 in the layout already, 1 with faults left as they are")
    assert path.read_bytes() == content


def test_quotes_are_put_where_readers_would_take_a_text_for_something_else(library: LibraryMaker) -> None:
    path = library.record("x")
    path.write_text(path.read_text().replace("A Made-Up Work Called x", "1.50"))
    assert run(library.place, [str(path)]).faults == ()
    assert 'title: "1.50"\n' in path.read_text()
    assert load_all(library.place).faults == ()


def test_links_are_not_written_through(library: LibraryMaker) -> None:
    outside = library.write("outside.yaml", "title: x\n")
    (library.papers / "2016" / "link.yaml").symlink_to(outside)
    outcome = run(library.place)
    assert [fault.file for fault in outcome.faults] == ["papers/2016/link.yaml"]
    assert outside.read_text() == "title: x\n"


def test_a_write_that_fails_leaves_the_file_whole(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(library)

    def replace(source: str, target: str) -> None:
        raise OSError(28, "No space left on device", source, target)

    monkeypatch.setattr(os, "replace", replace)
    outcome = run(library.place)
    assert outcome.changed == ()
    assert [str(fault) for fault in outcome.faults] == [
        f"{file}:1: the file cannot be written: No space left on device" for file in FILES
    ]
    assert contents(library) == before
