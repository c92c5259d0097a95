from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.site.tree import MARK, ForeignFolderError, claim, read_tree, synchronize, write_whole

if TYPE_CHECKING:
    from pathlib import Path


def listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_files_are_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    files = {"a.md": b"a", "papers/b.md": b"b"}
    assert synchronize(folder, files).written == ("a.md", "papers/b.md")
    stamps = {name: (folder / name).stat().st_mtime_ns for name in files}
    again = synchronize(folder, files)
    assert (again.written, again.removed) == ((), ())
    assert {name: (folder / name).stat().st_mtime_ns for name in files} == stamps


def test_only_what_changed_is_written_and_what_is_gone_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    synchronize(folder, {"a.md": b"a", "b.md": b"b", "old/c/d.md": b"d"})
    changes = synchronize(folder, {"a.md": b"a", "b.md": b"B"})
    assert (changes.written, changes.removed) == (("b.md",), ("old/c/d.md",))
    assert listing(folder) == {MARK, "a.md", "b.md"}


def test_a_file_may_become_a_folder_and_a_folder_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    synchronize(folder, {"a": b"1", "b/c": b"2"})
    synchronize(folder, {"a/b": b"3", "b": b"4"})
    assert listing(folder) == {MARK, "a", "a/b", "b"}


def test_the_files_of_others_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ForeignFolderError, match="was not made by `qkb build`"):
        synchronize(tmp_path, {"a.md": b"a"})
    assert listing(tmp_path) == {"thesis.tex"}
    with pytest.raises(ForeignFolderError):
        claim(tmp_path / "thesis.tex")


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    synchronize(tmp_path, {"a.md": b"a"})
    assert listing(tmp_path) == {MARK, "a.md"}


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b"])
def test_no_path_leads_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="leads out of the folder"):
        synchronize(tmp_path / "docs", {name: b"x"})
    assert not (tmp_path / "a").exists()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    write_whole(target, b"old")

    def fail(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="no room"):
        write_whole(target, b"new")
    assert target.read_bytes() == b"old"
    assert listing(tmp_path) == {"a"}


def test_reading_leaves_out_hidden_files_and_editors_copies(tmp_path: Path) -> None:
    for name in ("a.md", "b/c.md", ".hidden", "b/.cache/x.md", "a.md~"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert read_tree(tmp_path) == {"a.md": b"a.md", "b/c.md": b"b/c.md"}
