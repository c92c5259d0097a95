"""What links answered and when: `links.sqlite` in the library's cache folder, never in a record.

Every answer is written as soon as it is there, so that a run that dies loses the links in flight and nothing else, and
two runs at once see each other's answers. A file that cannot be read is put aside, not trusted.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from qkb.links.outcome import BROKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from qkb.links.outcome import Outcome, Status

FILE = "links.sqlite"
VERSION = 1
HOUR = 3600.0
DAY = 24 * HOUR
# What may have changed is asked again sooner than the rest.
SOONER: dict[Status, float] = {**dict.fromkeys(BROKEN, DAY), "unknown": HOUR}
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS links (
    url TEXT PRIMARY KEY, status TEXT NOT NULL, reason TEXT NOT NULL, code INTEGER, final TEXT NOT NULL,
    moved TEXT NOT NULL, asked REAL NOT NULL, since REAL NOT NULL, good REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    url TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL, times INTEGER NOT NULL, status TEXT NOT NULL,
    reason TEXT NOT NULL, code INTEGER, PRIMARY KEY (url, since)
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""


@dataclass(frozen=True)
class Known:
    """What is known of a link; times in seconds since 1970.

    Args:
        status: as in `Outcome`, and so are reason, code, final and moved.
        asked: when it was asked last.
        since: when it had this status first, without another since.
        good: when it answered well for the last time; None where it never did.
    """

    status: Status
    reason: str
    code: int | None
    final: str
    moved: str
    asked: float
    since: float
    good: float | None

    def is_stale(self, now: float, max_age: float) -> bool:
        """Tell whether the link should be asked again; `max_age` is for those that were well."""
        return not 0 <= now - self.asked < min(max_age, SOONER.get(self.status, max_age))


@dataclass(frozen=True)
class Period:
    """A time in which a link answered the same: first and last asked, how often, and what."""

    since: float
    until: float
    times: int
    status: Status
    reason: str
    code: int | None


class History:
    """The answers of all runs; threads share one.

    Args:
        folder: where the file is; None keeps the answers in memory.
        tell: called with a sentence where the user should know something.
    """

    def __init__(self, folder: Path | None, tell: Callable[[str], None] | None = None) -> None:
        self._tell = tell or (lambda _: None)
        self._lock = threading.Lock()
        self._failed = self._closed = False
        if folder is None:
            self._tell("no folder for caches can be written: what the links answer is not kept")
        self._file = ":memory:" if folder is None else str(folder / FILE)
        try:
            self._database = self._open()
        except sqlite3.DatabaseError as error:
            if folder is None or "locked" in str(error):
                raise
            aside = f"{self._file}.broken"
            for suffix in ("-wal", "-shm"):
                (folder / (FILE + suffix)).unlink(missing_ok=True)
            os.replace(self._file, aside)  # noqa: PTH105
            self._tell(f"{FILE} cannot be read ({error}): it is now {FILE}.broken, and all links are asked again")
            self._database = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            self._database.close()

    def known(self, url: str) -> Known | None:
        """Return what is known of a link."""
        columns = "status, reason, code, final, moved, asked, since, good"
        with self._lock:
            row = self._database.execute(f"SELECT {columns} FROM links WHERE url = ?", (url,)).fetchone()  # noqa: S608
        return None if row is None else Known(*row)

    def periods(self, url: str) -> list[Period]:
        """Return a link's past, the oldest first."""
        query = "SELECT since, until, times, status, reason, code FROM history WHERE url = ? ORDER BY since"
        with self._lock:
            return [Period(*row) for row in self._database.execute(query, (url,))]

    def keep(self, outcome: Outcome, now: float) -> None:
        """Write an answer at once; where it cannot be written, say so once and go on."""
        try:
            with self._lock:
                if not self._closed:  # a thread of a run that was stopped may come late
                    self._keep(outcome, now)
        except sqlite3.Error as error:
            if not self._failed:
                self._tell(f"{self._file} cannot be written ({error}): answers of this run are not kept")
            self._failed = True

    def _keep(self, outcome: Outcome, now: float) -> None:
        fine = outcome.status in {"ok", "moved"}
        same = (outcome.status, outcome.reason, outcome.code)
        self._database.execute("BEGIN IMMEDIATE")
        try:
            old = self._database.execute("SELECT status, since FROM links WHERE url = ?", (outcome.url,)).fetchone()
            since = old[1] if old is not None and old[0] == outcome.status else now
            self._database.execute(
                "INSERT INTO links VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (url) DO UPDATE SET status = "
                "excluded.status, reason = excluded.reason, code = excluded.code, final = excluded.final, moved = "
                "excluded.moved, asked = excluded.asked, since = excluded.since, good = coalesce(excluded.good, good)",
                (outcome.url, *same, outcome.final, outcome.moved, now, since, now if fine else None),
            )
            last = self._database.execute(
                "SELECT since, status, reason, code FROM history WHERE url = ? ORDER BY since DESC LIMIT 1",
                (outcome.url,),
            ).fetchone()
            if last is not None and tuple(last[1:]) == same:
                self._database.execute(
                    "UPDATE history SET until = ?, times = times + 1 WHERE url = ? AND since = ?",
                    (now, outcome.url, last[0]),
                )
            else:
                self._database.execute(
                    "INSERT OR REPLACE INTO history VALUES (?, ?, ?, 1, ?, ?, ?)", (outcome.url, now, now, *same)
                )
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._file, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            _write_ahead(database)
            database.execute("PRAGMA synchronous = NORMAL")
            _lay_out(database)
        except BaseException:
            database.close()
            raise
        return database


def _lay_out(database: sqlite3.Connection) -> None:
    """Make the tables of a new file; make sure that those of an old one are as they should be."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version not in {0, VERSION}:
        raise sqlite3.DatabaseError(f"it has version {version}, not {VERSION}")
    if version == 0:
        database.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
    for table in ("links", "history"):
        database.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()  # noqa: S608


def _write_ahead(database: sqlite3.Connection) -> None:
    """Let readers and a writer work at once; another run that opens the file now can be in the way for a moment."""
    for attempt in range(50):
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == 49:
                raise
            time.sleep(0.05)
        else:
            return


def day(moment: float) -> str:
    """Return the date of a time in seconds since 1970.

    >>> day(0)
    '1970-01-01'
    """
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
