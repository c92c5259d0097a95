"""Making the index: read what changed since the last one, and put a new file in its place.

The old index is copied, changed and renamed over itself. A crash leaves the old one; two processes at once make the
same one twice at worst (a lock, where there are locks, lets the second wait and find the work done). Where nothing can
be written the index lives in memory.

A file whose times are younger than `YOUNG` may change again without a visible change of its times, which tick only so
fast. Its record is kept but not trusted: the next query reads that file again and compares its contents.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qkb import index
from qkb.entry import data_of
from qkb.index_rows import TABLES, forget, learn_vocabulary, remember
from qkb.locks import lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qkb.paths import Place

YOUNG = 2_000_000_000  # nanoseconds; the coarsest file times in use (FAT) tick every two seconds
STALE = 3600.0  # seconds after which a temporary file belongs to a process that was killed
MANY = 500  # changed files from which on the user is told what takes so long


class File(NamedTuple):
    """What the index holds on a file: its times, its contents, and whether it had faults.

    Attributes:
        stamp: the four numbers of the scan; empty where the file was too young to be trusted.
        digest: digest of the contents; empty where they could not be read.
        faulty: 1 where the file has faults.
    """

    stamp: str
    digest: bytes
    faulty: int


def refresh(
    place: Place,
    notify: index.Notify | None = None,
    seen: index.Look | None = None,
    *,
    from_nothing: bool = False,
) -> tuple[sqlite3.Connection, int]:
    """Bring the index up to date with the files; return it, open, with its number of faulty files.

    Args:
        place: the library.
        notify: called with a sentence where the user has to wait, or where no file can be written.
        seen: what `index.look` found; an old one does no harm, it is compared again.
        from_nothing: believe no old index; read every file.
    """
    folder = place.cache_folder()
    if folder is None:
        _tell(notify, "no folder for the index can be written; it is made in memory, each time anew")
        return _Refresh(place, notify, seen).in_memory(None if from_nothing else _old(place))
    target = Path(folder, index.FILE)
    with lock(Path(folder, "index.lock")):
        work = _Refresh(place, notify, seen)
        try:
            with contextlib.suppress(sqlite3.DatabaseError):  # the old one is damaged
                return work.on_disk(target, None if from_nothing else _old(place))
            return work.on_disk(target, None)
        except (OSError, sqlite3.Error) as error:  # SQLite tells of a full disk in its own way
            why = getattr(error, "strerror", None) or error
            _tell(notify, f"the index cannot be written ({why}); it is made in memory")
            return work.in_memory(None)


class _Refresh:
    """One refresh: what is on disk now, and its comparison with what an index holds."""

    def __init__(self, place: Place, notify: index.Notify | None, seen: index.Look | None) -> None:
        self.place = place
        self.papers = place.papers
        self.notify = notify
        self.scanned, self.measured, self.started = seen or index.look(place)
        self.files = {path: numbers for path, numbers in _flat(self.scanned) if self._is_there(path, numbers)}
        self.known: dict[str, File] = {}
        self.known_measured: list[str] = []

    def on_disk(self, target: Path, old: Path | None) -> tuple[sqlite3.Connection, int]:
        """Make the index beside the old one and put it in its place; do nothing where they would be equal."""
        self._recall(old)
        now = self._look()
        same = now == {path: (file.stamp, file.digest) for path, file in self.known.items()}
        if old == target and same and self.measured == self.known_measured:
            return _opened(target)
        _sweep(target.parent)
        handle, name = tempfile.mkstemp(prefix="index-", suffix=".tmp", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            if old is not None:
                shutil.copyfile(old, temporary)
            self._made(name, old, now).close()
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return _opened(target)

    def in_memory(self, old: Path | None) -> tuple[sqlite3.Connection, int]:
        """Make the index in memory, from an old one that lies where nothing can be written."""
        self._recall(old)
        connection = self._made(":memory:", old, self._look())
        return connection, connection.execute("SELECT faulty FROM meta").fetchone()[0]

    def _recall(self, old: Path | None) -> None:
        """Read what the old index holds on every file."""
        self.known, self.known_measured = {}, []
        if old is None:
            return
        connection, _ = _opened(old)
        with contextlib.closing(connection):
            rows = connection.execute("SELECT path, stamp, digest, faulty FROM files")
            self.known = {path: File(*held) for path, *held in rows}
            self.known_measured = [name for (name,) in connection.execute("SELECT id FROM hardware ORDER BY id")]

    def _look(self) -> dict[str, tuple[str, bytes]]:
        """Return stamp and digest of every file; contents are read where the stamp does not vouch for them."""
        now: dict[str, tuple[str, bytes]] = {}
        for path, numbers in self.files.items():
            stamp = "" if self._is_young(numbers) else " ".join(map(str, numbers))
            known = self.known.get(path)
            trusted = known is not None and stamp and known.stamp == stamp
            now[path] = (stamp, known.digest if known is not None and trusted else self._digest(path))
        return now

    def _made(self, path: str, old: Path | None, now: dict[str, tuple[str, bytes]]) -> sqlite3.Connection:
        """Write the differences into the copy of the old index, or everything into a new one; return it, open."""
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = OFF")  # what fails is thrown away whole
            connection.execute("PRAGMA synchronous = OFF")
            if old is None:
                connection.executescript(TABLES)
            elif path == ":memory:":
                source, _ = _opened(old)
                with contextlib.closing(source):
                    source.backup(connection)
            connection.execute("BEGIN")
            self._write(connection, now)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _write(self, connection: sqlite3.Connection, now: dict[str, tuple[str, bytes]]) -> None:
        gone = self.known.keys() - now.keys()
        changed = [path for path in now if path not in self.known or self.known[path].digest != now[path][1]]
        if len(changed) >= MANY:
            _tell(self.notify, f"making the index: {len(changed):,} files are new or changed")
        for path in gone:
            connection.execute("DELETE FROM files WHERE path = ?", (path,))
            forget(connection, path)
        faulty = {path: file.faulty for path, file in self.known.items()}
        for path in changed:
            if not _is_term(path):
                forget(connection, path)
                faulty[path] = self._learn(connection, path) if now[path][1] else 1
        if not self.known or any(_is_term(path) for path in (*gone, *changed)):
            broken = self._learn_vocabulary(connection)
            faulty |= {path: int(path in broken) for path in now if _is_term(path)}
        connection.executemany(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
            [
                (path, *held, faulty[path])
                for path, held in now.items()
                if path not in self.known or self.known[path] != (*held, faulty[path])
            ],
        )
        self._seal(connection)

    def _seal(self, connection: sqlite3.Connection) -> None:
        """Work out what depends on all records, and write down what the index was made from."""
        connection.execute("UPDATE records SET shadowed = 0 WHERE shadowed")
        connection.execute(
            "UPDATE records SET shadowed = 1 WHERE id IN (SELECT id FROM records GROUP BY id HAVING count(*) > 1)"
            " AND path > (SELECT min(path) FROM records AS other WHERE other.id = records.id)"
        )
        connection.execute("DELETE FROM hardware")
        connection.executemany("INSERT INTO hardware VALUES (?)", [(name,) for name in self.measured])
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM files WHERE faulty), (SELECT count(*) FROM records WHERE shadowed)"
        ).fetchone()
        young = any(self._is_young(numbers) for numbers in self.files.values())
        connection.execute("DELETE FROM meta")
        connection.execute(
            "INSERT INTO meta VALUES (?, ?, ?)",
            (index.made_by(), b"" if young else index.state_of(self.scanned, self.measured), sum(counts)),
        )

    def _learn(self, connection: sqlite3.Connection, path: str) -> int:
        """Put the record of a file into the index; return 1 where the file has faults."""
        from qkb.records.load import load_record  # noqa: PLC0415 (pydantic, YAML: only where a record changed)

        loaded = load_record(self.papers / path, self.place.root)
        if loaded.record is not None:
            remember(connection, path, data_of(loaded.record))
        return int(loaded.record is None or bool(loaded.faults))

    def _learn_vocabulary(self, connection: sqlite3.Connection) -> set[str]:
        """Put the vocabulary into the index; return the files that have faults."""
        from qkb.records.vocabulary import load_vocabulary  # noqa: PLC0415

        loaded = load_vocabulary(self.place)
        learn_vocabulary(connection, loaded.vocabulary)
        return {fault.file.removeprefix("papers/") for fault in loaded.faults}

    def _is_there(self, path: str, numbers: tuple[int, ...]) -> bool:
        """Tell a file from a name that was gone when the scan looked at it."""
        return any(numbers) or os.path.lexists(self.papers / path)

    def _is_young(self, numbers: tuple[int, ...]) -> bool:
        changed = numbers[0] if os.name == "nt" else numbers[1]  # Windows keeps no time of the last change
        return changed > self.started - YOUNG

    def _digest(self, path: str) -> bytes:
        full = self.papers / path
        try:
            if not full.is_file():  # opening a pipe would wait for ever
                return b""
            with full.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError:
            return b""


def _old(place: Place) -> Path | None:
    """Return the path of an index that can be the base of a new one."""
    for path in index.candidates(place):
        found = index.read(path, index.made_by())
        if found is not None:
            found[0].close()
            return Path(path)
    return None


def _opened(path: Path) -> tuple[sqlite3.Connection, int]:
    found = index.read(str(path), index.made_by())
    if found is None:
        raise OSError(None, "it cannot be read back")
    return found


def _flat(scanned: index.Scan) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the path below papers/ and the four numbers of every file."""
    for folder, names, numbers in scanned:
        for position, name in enumerate(names):
            # A name that is no valid text can be in no record; it only has to be told from others.
            path = f"{folder}/{name}".encode("utf-8", "backslashreplace").decode()
            yield path, tuple(numbers[4 * position : 4 * position + 4])


def _is_term(path: str) -> bool:
    return path.startswith("vocabulary/")


def _sweep(folder: Path) -> None:
    """Delete temporary files that killed processes left behind."""
    for path in folder.glob("index-*.tmp"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - STALE:
                path.unlink()


def _tell(notify: index.Notify | None, sentence: str) -> None:
    if notify is not None:
        notify(sentence)
