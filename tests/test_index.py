from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import qkb
from qkb import index, indexing
from qkb.index import Index
from qkb.library import Library
from qkb.paths import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import LibraryMaker

TITLES = "SELECT title FROM records WHERE NOT shadowed ORDER BY id"
FRESH = ["Scaled Sign Networks", "Tiny Sign: Networks with One-Bit Weights", "Wide Steps for Ternary and Wider Weights"]


def titles(library: LibraryMaker) -> list[str]:
    return [title for (title,) in Index(library.place).rows(TITLES)]


def stored(library: LibraryMaker) -> Path:
    return library.root / ".qkb" / index.FILE


@pytest.fixture
def no_file_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are believed at once, as if they had been written long ago."""
    monkeypatch.setattr(indexing, "YOUNG", 0)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the records that are parsed."""
    from qkb.records import load

    names: list[str] = []
    real = load.load_record

    def load_record(path: Path, root: Path) -> Any:
        names.append(path.name)
        return real(path, root)

    monkeypatch.setattr(load, "load_record", load_record)
    return names  # type: ignore[return-value]


@pytest.mark.usefixtures("no_file_is_young")
def test_nothing_is_parsed_twice(library: LibraryMaker, parsed: list[str]) -> None:
    assert titles(library) == FRESH
    assert len(parsed) == 3
    parsed.clear()
    before = stored(library).stat()
    assert titles(library) == FRESH
    assert parsed == []
    assert stored(library).stat().st_ino == before.st_ino


@pytest.mark.usefixtures("no_file_is_young")
def test_a_fresh_index_needs_no_other_module(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    titles(library)
    monkeypatch.setattr(indexing, "refresh", None)
    assert titles(library) == FRESH


@pytest.mark.usefixtures("no_file_is_young")
def test_only_what_changed_is_parsed(library: LibraryMaker, parsed: list[str]) -> None:
    titles(library)
    parsed.clear()
    path = library.papers / "2016" / "scaled-sign.yaml"
    path.write_text(path.read_text().replace("Scaled Sign Networks", "Scaled Signs"))
    assert titles(library) == ["Scaled Signs", *FRESH[1:]]
    assert parsed == ["scaled-sign.yaml"]


@pytest.mark.usefixtures("no_file_is_young")
def test_an_edit_that_keeps_size_and_time_is_seen(library: LibraryMaker) -> None:
    titles(library)
    path = library.papers / "2016" / "scaled-sign.yaml"
    before = path.stat()
    path.write_text(path.read_text().replace("Scaled Sign Networks", "Scaled Song Network"[:19] + "s"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert titles(library)[0] == "Scaled Song Networks"


def test_an_edit_within_one_tick_of_the_clock_is_seen(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    titles(library)
    frozen = index.scan(str(library.papers))
    monkeypatch.setattr(index, "scan", lambda _: frozen)  # the times stand still
    path = library.papers / "2016" / "scaled-sign.yaml"
    path.write_text(path.read_text().replace("Scaled", "Skaled"))
    assert titles(library)[0] == "Skaled Sign Networks"


def test_young_files_are_believed_later(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    titles(library)
    inode = stored(library).stat().st_ino
    titles(library)
    assert stored(library).stat().st_ino == inode, "nothing changed, so nothing need be written"
    monkeypatch.setattr(indexing, "YOUNG", 0)
    titles(library)
    assert stored(library).stat().st_ino != inode
    monkeypatch.setattr(indexing, "refresh", None)
    assert titles(library) == FRESH


@pytest.mark.usefixtures("no_file_is_young")
def test_a_touched_file_is_not_parsed(library: LibraryMaker, parsed: list[str]) -> None:
    titles(library)
    parsed.clear()
    (library.papers / "2016" / "scaled-sign.yaml").touch()
    assert titles(library) == FRESH
    assert parsed == []


@pytest.mark.usefixtures("no_file_is_young")
@pytest.mark.parametrize("new", ["2016/renamed.yaml", "2019/scaled-sign.yaml", "2019/other.yaml"])
def test_a_renamed_file_is_another_record(library: LibraryMaker, new: str) -> None:
    titles(library)
    target = library.papers / new
    target.parent.mkdir(exist_ok=True)
    (library.papers / "2016" / "scaled-sign.yaml").rename(target)
    rows = Index(library.place).rows("SELECT id, year FROM records WHERE title = 'Scaled Sign Networks'")
    assert rows == [(target.stem, int(target.parent.name))]


@pytest.mark.usefixtures("no_file_is_young")
def test_a_deleted_file_is_gone_everywhere(library: LibraryMaker) -> None:
    titles(library)
    (library.papers / "2016" / "scaled-sign.yaml").unlink()
    opened = Library.open(library.root)
    assert [entry.id for entry in opened.query()] == ["tiny-sign", "wide-steps"]
    assert opened.query(text="popcount") == []
    assert opened.query(has="doi") == []
    assert opened.lookup("10.5555/scaled.sign") == []
    found = Index(library.place)
    left = {key for (key,) in found.rows("SELECT key FROM records")}
    for table in ("labels", "contents"):
        assert {key for (key,) in found.rows(f"SELECT key FROM {table}")} <= left  # noqa: S608


@pytest.mark.usefixtures("no_file_is_young")
def test_a_deleted_folder_is_gone(library: LibraryMaker) -> None:
    titles(library)
    (library.papers / "2016" / "scaled-sign.yaml").unlink()
    (library.papers / "2016").rmdir()
    assert titles(library) == FRESH[1:]


@pytest.mark.usefixtures("no_file_is_young")
def test_words_that_were_edited_away_are_not_found(library: LibraryMaker) -> None:
    assert [entry.id for entry in Library.open(library.root).query(text="popcount")] == ["scaled-sign"]
    path = library.papers / "2016" / "scaled-sign.yaml"
    path.write_text(path.read_text().replace("Popcount", "Counting"))
    assert Library.open(library.root).query(text="popcount") == []
    assert [entry.id for entry in Library.open(library.root).query(text="counting")] == ["scaled-sign"]


@pytest.mark.usefixtures("no_file_is_young")
def test_a_changed_vocabulary_is_seen(library: LibraryMaker) -> None:
    titles(library)
    path = library.papers / "vocabulary" / "venues.yaml"
    path.write_text(re.sub(r"aliases: \[.*\]", "aliases: [OtherName]", path.read_text()))
    assert [entry.id for entry in Library.open(library.root).query(venues="othername")] == ["tiny-sign"]


@pytest.mark.usefixtures("no_file_is_young")
def test_a_new_reading_list_is_seen(library: LibraryMaker) -> None:
    titles(library)
    text = (library.papers / "vocabulary" / "lists" / "small-list.yaml").read_text()
    library.write("papers/vocabulary/lists/new-list.yaml", text.replace("A small list", "A new list"))
    rows = Index(library.place).rows("SELECT name FROM terms WHERE what = 'list' AND id = 'new-list'")
    assert rows == [("A new list",)]


def test_faulty_files_are_counted_and_left_out(library: LibraryMaker) -> None:
    library.write("papers/2018/broken.yaml", "title: [")
    library.record("nonsense", 2018, tags=["no-such-tag"])
    found = Index(library.place)
    assert found.faulty == 2
    assert [title for (title,) in found.rows(TITLES)] == FRESH
    assert Index(library.place).faulty == 2


def test_a_corrected_file_is_no_fault_any_more(library: LibraryMaker) -> None:
    library.write("papers/2018/broken.yaml", "title: [")
    assert Index(library.place).faulty == 1
    library.record("broken", 2018)
    assert Index(library.place).faulty == 0


def test_a_good_record_that_is_broken_leaves_the_answers(library: LibraryMaker) -> None:
    titles(library)
    library.write("papers/2016/scaled-sign.yaml", "title: [")
    assert titles(library) == FRESH[1:]


def test_a_faulty_vocabulary_is_counted(library: LibraryMaker) -> None:
    library.write("papers/vocabulary/topics.yaml", "ternary: {name: Ternary}\n")
    assert Index(library.place).faulty == 1
    assert titles(library) == FRESH


def test_of_two_files_of_one_name_the_first_counts(library: LibraryMaker) -> None:
    library.record("twice", 2018, title="First")
    second = library.record("twice", 2019, title="Second")
    found = Index(library.place)
    assert found.rows("SELECT year FROM records WHERE id = 'twice' AND NOT shadowed") == [(2018,)]
    assert found.faulty == 1
    (library.papers / "2018" / "twice.yaml").unlink()
    found = Index(library.place)
    assert found.rows("SELECT year FROM records WHERE id = 'twice' AND NOT shadowed") == [(2019,)]
    assert found.faulty == 0
    assert second.is_file()


@pytest.mark.parametrize("name", [".hidden.yaml", "note.txt", "backup.yaml~", ".#lock.yaml"])
def test_other_files_are_not_looked_at(library: LibraryMaker, name: str) -> None:
    library.write(f"papers/2016/{name}", "title: [")
    assert Index(library.place).faulty == 0


def test_a_folder_a_pipe_and_a_dangling_link_are_faults(library: LibraryMaker) -> None:
    (library.papers / "2016" / "folder.yaml").mkdir()
    os.mkfifo(library.papers / "2016" / "pipe.yaml")
    (library.papers / "2016" / "link.yaml").symlink_to("nowhere")
    assert Index(library.place).faulty == 3
    assert titles(library) == FRESH


def test_a_name_that_is_no_text_is_a_fault(library: LibraryMaker) -> None:
    source = (library.papers / "2016" / "scaled-sign.yaml").read_bytes()
    Path(os.fsdecode(os.fsencode(library.papers / "2016") + b"/bad-\xff.yaml")).write_bytes(source)
    assert Index(library.place).faulty == 1
    assert titles(library) == FRESH


def test_a_file_in_place_of_a_year_is_no_folder(library: LibraryMaker) -> None:
    library.write("papers/2020", "not a folder")
    assert titles(library) == FRESH


@pytest.mark.usefixtures("no_file_is_young")
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no database at all" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["empty", "garbage", "truncated", "missing", "folder"],
)
def test_a_broken_index_is_made_again(library: LibraryMaker, damage: Any) -> None:
    titles(library)
    damage(stored(library))
    assert titles(library) == FRESH
    assert titles(library) == FRESH


@pytest.mark.usefixtures("no_file_is_young")
def test_damage_that_only_a_query_meets_is_repaired(library: LibraryMaker) -> None:
    titles(library)
    path = stored(library)
    with sqlite3.connect(path) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'contents'").fetchone()[0]
    connection.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * size : root * size] = b"\xa5" * size
    path.write_bytes(data)
    opened = Library.open(library.root)
    assert opened.record("scaled-sign").title == "Scaled Sign Networks"
    assert Library.open(library.root).query(ids="tiny-sign")[0]["authors"] == ["Ada Lind", "Bo Ruiz"]


@pytest.mark.usefixtures("no_file_is_young")
@pytest.mark.parametrize("statement", ["DROP TABLE labels", "DROP TABLE meta", "DELETE FROM meta", "DROP TABLE files"])
def test_an_index_of_another_shape_is_made_again(library: LibraryMaker, statement: str) -> None:
    titles(library)
    with sqlite3.connect(stored(library)) as connection:
        connection.execute(statement)
    connection.close()
    if statement == "DROP TABLE files":  # only an update meets it
        library.record("one-more", 2019)
    assert [entry.id for entry in Library.open(library.root).query(tags="hardware")] == ["scaled-sign"]


@pytest.mark.usefixtures("no_file_is_young")
def test_another_version_makes_its_own_index(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    titles(library)
    monkeypatch.setattr(index, "FORMAT", index.FORMAT + 1)
    assert index.read(str(stored(library)), index.made_by()) is None
    assert titles(library) == FRESH
    assert index.read(str(stored(library)), index.made_by()) is not None
    monkeypatch.setattr(index, "__version__", "0.0.0")
    assert index.read(str(stored(library)), index.made_by()) is None


def test_the_maker_names_version_and_code() -> None:
    maker = index.made_by()
    assert qkb.__version__ in maker
    assert str(Path(indexing.__file__).stat().st_mtime_ns) in maker


def test_a_read_only_library_has_its_index_in_the_users_cache(
    library: LibraryMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.write(".qkb", "in the way of a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert titles(library) == FRESH
    assert len(list((tmp_path / "cache").rglob(index.FILE))) == 1
    library.record("one-more", 2019)
    assert len(titles(library)) == 4


def test_where_nothing_can_be_written_the_index_is_in_memory(
    library: LibraryMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.write(".qkb", "in the way of a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(library.write("file", "")) + "/below")
    told: list[str] = []
    assert [title for (title,) in Index(library.place, told.append).rows(TITLES)] == FRESH
    assert told == ["no folder for the index can be written; it is made in memory, each time anew"]
    assert list(tmp_path.rglob(index.FILE)) == []


@pytest.mark.usefixtures("no_file_is_young")
def test_a_stale_index_that_cannot_be_replaced_helps(
    library: LibraryMaker, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    titles(library)
    parsed.clear()
    library.record("one-more", 2019)
    monkeypatch.setattr(type(library.place), "cache_folder", lambda _: None)
    assert len(titles(library)) == 4
    assert parsed == ["one-more.yaml"]


def test_a_full_disk_leaves_an_answer_and_no_rubbish(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    told: list[str] = []
    assert [title for (title,) in Index(library.place, told.append).rows(TITLES)] == FRESH
    assert told == ["the index cannot be written (No space left on device); it is made in memory"]
    assert [path.name for path in (library.root / ".qkb").iterdir()] == ["index.lock"]


def test_rubbish_of_killed_processes_is_swept_away(library: LibraryMaker) -> None:
    old = library.write(".qkb/index-old.tmp", "")
    os.utime(old, (1, 1))
    new = library.write(".qkb/index-new.tmp", "")
    titles(library)
    assert not old.exists()
    assert new.exists()


def test_many_changes_are_announced(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "MANY", 3)
    told: list[str] = []
    Index(library.place, told.append)
    assert told == ["making the index: 7 files are new or changed"]


def test_paths_with_odd_characters(library: LibraryMaker, tmp_path: Path) -> None:
    odd = tmp_path / "a b?c#d%41é"
    library.root.rename(odd)
    assert len(Library.open(odd).query()) == 3
    assert (odd / ".qkb" / index.FILE).is_file()


def with_hardware(library: LibraryMaker) -> list[str]:
    """Return the ids of the records with hardware results, through a fresh index each time."""
    rows = Index(library.place).rows("SELECT id FROM records WHERE id IN (SELECT id FROM hardware) ORDER BY id")
    return [name for (name,) in rows]


@pytest.mark.usefixtures("no_file_is_young")
def test_hardware_results_that_come_and_go_are_seen(library: LibraryMaker) -> None:
    (library.root / "reference_impls" / "kit").mkdir(parents=True)
    folder = "reference_impls/results/fpga"
    assert with_hardware(library) == []
    first = library.write(f"{folder}/mlp/tiny-sign.json", "{}")
    assert with_hardware(library) == ["tiny-sign"]
    inode = stored(library).stat().st_ino
    library.write(f"{folder}/cnn/tiny-sign.json", "{}")
    library.write(f"{folder}/mlp/tiny-sign.v.gz", "")
    assert with_hardware(library) == ["tiny-sign"]
    assert stored(library).stat().st_ino == inode, "nothing changed, so nothing need be written"
    library.write(f"{folder}/cnn/no-such-record.json", "{}")
    library.write(f"{folder}/cnn/scaled-sign.json", "{}")
    assert with_hardware(library) == ["scaled-sign", "tiny-sign"]
    first.unlink()
    (library.root / folder / "cnn" / "tiny-sign.json").unlink()
    assert with_hardware(library) == ["scaled-sign"]


def test_a_library_without_methods_has_the_hardware_of_the_installation(
    library: LibraryMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site-packages" / "reference_impls" / "results" / "fpga" / "mlp"
    folder.mkdir(parents=True)
    (folder / "wide-steps.json").write_text("{}")
    monkeypatch.setattr(index, "__file__", str(tmp_path / "site-packages" / "qkb" / "index.py"))
    assert index.hardware(library.place) == ["wide-steps"]
    assert index.hardware(Place(library.root, bundled=True)) == ["wide-steps"]
    (library.root / "reference_impls" / "kit").mkdir(parents=True)
    assert index.hardware(library.place) == []


def test_without_folder_handles_the_scan_is_the_same(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    library.write("papers/2020", "not a folder")
    by_handle = index.scan(str(library.papers))
    monkeypatch.setattr(index, "_BY_HANDLE", False)
    assert index.scan(str(library.papers)) == by_handle
    assert [folder for folder, _, _ in by_handle] == ["vocabulary", "vocabulary/lists", "2015", "2016", "2017"]


def test_processes_at_once_all_answer(library: LibraryMaker) -> None:
    for number in range(20):
        library.record(f"more-{number}", 2018)
    command = [sys.executable, "-m", "qkb", "query", "--format", "ids", "--root", str(library.root)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in started]
    assert {process.returncode for process in started} == {0}
    assert {error for _, error in outputs} == {""}
    assert {len(out.split()) for out, _ in outputs} == {23}
    assert sorted(path.name for path in (library.root / ".qkb").iterdir()) == ["index.lock", index.FILE]


def test_no_reader_sees_half_an_edit(library: LibraryMaker) -> None:
    """While one thread rewrites a record, every answer is the old one or the new one, and the last is the new one."""
    path = library.papers / "2016" / "scaled-sign.yaml"
    source = path.read_text()
    done = threading.Event()

    def write() -> None:
        for number in range(30):
            fresh = path.with_suffix(".tmp")
            fresh.write_text(source.replace("Scaled Sign Networks", f"Version {number}"))
            fresh.replace(path)
        done.set()

    writer = threading.Thread(target=write)
    titles(library)
    writer.start()
    seen: list[int] = []
    while not done.is_set():
        found = titles(library)
        assert len(found) == 3
        seen += [int(title.removeprefix("Version ")) for title in found if title.startswith("Version ")]
    writer.join()
    assert "Version 29" in titles(library)
    assert seen == sorted(seen)
