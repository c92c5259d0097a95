"""The index: an SQLite file with everything a query needs, so that no YAML is read that has not changed.

Every time it is opened, every file of the library is looked up: its times, size and inode must be those that the index
was made from, name by name; so must the ids that have accepted hardware results. Only then is the index believed.
Otherwise `qkb.indexing` reads what changed and puts a new index in the old one's place in one step; a file of the
index is never changed. So a reader sees the old answer or the new one, however many processes run, and needs no lock.

This module lies on the path of every query and imports only what Python has at hand at once; `qkb.indexing`,
which needs YAML and pydantic, is imported where something changed.
"""
# os.path in place of pathlib: importing pathlib would cost every query 4 ms.
# ruff: noqa: PTH100, PTH112, PTH116, PTH118, PTH120, PTH208

from __future__ import annotations

import marshal
import os
import sqlite3
import time

from qkb import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from qkb.paths import Place

    # For each folder: its path below papers/, the names of its YAML files, and four numbers per name.
    Scan = list[tuple[str, list[str], list[int]]]
    # A scan, the ids that have hardware results, and the time at which the look began, in nanoseconds.
    Look = tuple[Scan, list[str], int]
    Notify = Callable[[str], None]

FILE = "index.sqlite"
FORMAT = 2  # one more whenever the tables change
# The code that decides what stands in an index; somebody who edits it must not be answered from an old one.
_MAKERS = (
    "indexing.py", "index_rows.py", "entry.py", "text.py",
    "records/model.py", "records/load.py", "records/yaml_lines.py",
)  # fmt: skip
_HARDWARE = ("mlp", "cnn")  # folders of accepted hardware results
_BY_HANDLE = os.listdir in os.supports_fd and os.stat in os.supports_dir_fd


class Index:
    """An index that agreed with the files when it was opened; it goes on answering from that moment.

    Attributes:
        place: the library.
        faulty: how many files of the library are no valid records; their answers are missing.
    """

    __slots__ = ("_connection", "_notify", "faulty", "place")

    def __init__(self, place: Place, notify: Notify | None = None) -> None:
        self.place = place
        self._notify = notify
        self._connection, self.faulty = _open(place, notify)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        An index that turns out to be damaged is thrown away and made again from the files, once.
        """
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError:
            self._connection.close()
            self._connection, self.faulty = _rebuild(self.place, self._notify)
            return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        """Close the file; nothing can be asked any more."""
        self._connection.close()


def scan(papers: str) -> Scan:
    """Return what tells whether the YAML files of a library have changed: their times, sizes and inodes."""
    years = [name for name in os.listdir(papers) if len(name) == 4 and name.isascii() and name.isdigit()]
    folders = ("vocabulary", "vocabulary/lists", *sorted(years))
    return [found for folder in folders if (found := _scan_folder(papers, folder)) is not None]


def hardware(place: Place) -> list[str]:
    """Return the ids that have accepted hardware results: a file each, of the checkout or else of the installation."""
    own = os.path.join(place, "reference_impls")
    if place.bundled or not os.path.isdir(os.path.join(own, "kit")):
        own = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "reference_impls")
    found: set[str] = set()
    for network in _HARDWARE:
        try:
            names = os.listdir(os.path.join(own, "results", "fpga", network))
        except OSError:
            continue
        found.update([name[:-5] for name in names if name.isascii() and name.endswith(".json")])
    return sorted(found)


def look(place: Place) -> Look:
    """Return what the index must agree with."""
    started = time.time_ns()
    return scan(os.path.join(place, "papers")), hardware(place), started


def state_of(scanned: Scan, measured: list[str]) -> bytes:
    """Return a scan and the ids with hardware results as bytes: equal bytes, unchanged files."""
    return marshal.dumps((scanned, measured), 2)  # up to version 2 the bytes depend on nothing but the values


def made_by() -> str:
    """Return what the maker of an index must be for this qkb to believe it."""
    here = os.path.dirname(os.path.abspath(__file__))
    return " ".join([str(FORMAT), __version__, sqlite3.sqlite_version, *_stamps(here)])


def read(path: str, maker: str, state: bytes | None = None) -> tuple[sqlite3.Connection, int] | None:
    """Open an index and return it with its number of faulty files; None where it cannot be believed.

    Args:
        path: the file.
        maker: what `made_by` says.
        state: what `state_of` must be; None accepts an index of other files, as a base for a new one.
    """
    # The file is never changed in place, only replaced, so no lock and no journal need be looked for.
    address = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23").replace(os.sep, "/")
    try:
        connection = sqlite3.connect(
            f"file:{'' if address.startswith('/') else '/'}{address}?mode=ro&immutable=1",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error:
        return None
    try:
        found = connection.execute("SELECT made_by, state, faulty FROM meta").fetchone()
    except sqlite3.Error:
        found = None
    if found is None or found[0] != maker or (state is not None and found[1] != state):
        connection.close()
        return None
    return connection, found[2]


def candidates(place: Place) -> Iterator[str]:
    """Yield where an index may lie: in the library, else, where that is read-only, in the user's cache."""
    inside = os.path.join(place, ".qkb", FILE)
    if not place.bundled:
        yield inside
    folder = place.cache_folder()
    if folder is not None and os.path.join(folder, FILE) != inside:
        yield os.path.join(folder, FILE)


def _open(place: Place, notify: Notify | None) -> tuple[sqlite3.Connection, int]:
    seen = look(place)
    state = state_of(seen[0], seen[1])
    maker = made_by()
    for path in candidates(place):
        found = read(path, maker, state)
        if found is not None:
            return found
    from qkb import indexing  # noqa: PLC0415 (YAML and pydantic are for changed files only)

    return indexing.refresh(place, notify, seen)


def _rebuild(place: Place, notify: Notify | None) -> tuple[sqlite3.Connection, int]:
    from qkb import indexing  # noqa: PLC0415

    return indexing.refresh(place, notify, from_nothing=True)


def _scan_folder(papers: str, folder: str) -> tuple[str, list[str], list[int]] | None:
    path = os.path.join(papers, folder)
    if not _BY_HANDLE:
        return _scan_by_path(path, folder)
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        names = _record_files(os.listdir(handle))
        numbers: list[int] = []
        for name in names:
            try:
                found = os.stat(name, dir_fd=handle)
            except OSError:
                numbers += (0, 0, 0, 0)
            else:
                numbers += (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
    except NotADirectoryError:
        return None
    finally:
        os.close(handle)
    return folder, names, numbers


def _scan_by_path(path: str, folder: str) -> tuple[str, list[str], list[int]] | None:
    """Do as `_scan_folder` where the system cannot look up a name below an open folder."""
    try:
        names = _record_files(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    numbers: list[int] = []
    for name in names:
        try:
            found = os.stat(os.path.join(path, name))
        except OSError:
            numbers += (0, 0, 0, 0)
        else:
            numbers += (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
    return folder, names, numbers


def _record_files(names: list[str]) -> list[str]:
    return sorted([name for name in names if name.endswith(".yaml") and not name.startswith(".")])


def _stamps(package: str) -> Iterator[str]:
    for name in _MAKERS:
        try:
            found = os.stat(os.path.join(package, name))
        except OSError:  # inside a zip archive there is nothing to edit either
            yield "-"
        else:
            yield f"{found.st_mtime_ns}:{found.st_size}"
