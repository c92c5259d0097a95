"""SQLite: the records as a relational database, for SQL and for programs such as Datasette.

Every table but `venues` and `meta` has a column `record`, the id of the record that a row belongs to, and where order
counts a `position` from 1; together they are its key.

- `records`: id, year, title, venue (of `venues`), kind, pages, weights, activations, gradients, errors (bit-widths as
  the record has them: a number, a range `2..8` or `fp`), arxiv, doi, openreview, url, pdf, implementation, notes.
  What a record does not say is NULL.
- `venues`: id, name.
- `authors`: record, position, name.
- `tags`, `topics`: record, position, term.
- `aliases`: record, position, alias.
- `code`: record, position, url, official (0 or 1), framework.
- `builds_on`: record, position, other: the id of a record, which may not be among those exported.
- `claims`: record, position, id, says, place.
- `listed_in`: record, position, list, section.
- `meta`: key, value: `schema` is the version of this layout, raised when it changes.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qkb.entry import Entry

SCHEMA = 1
TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE venues (id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    id TEXT PRIMARY KEY, year INTEGER NOT NULL, title TEXT NOT NULL, venue TEXT NOT NULL REFERENCES venues (id),
    kind TEXT NOT NULL, pages TEXT, weights TEXT, activations TEXT, gradients TEXT, errors TEXT,
    arxiv TEXT, doi TEXT, openreview TEXT, url TEXT, pdf TEXT, implementation TEXT NOT NULL, notes TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX records_by_year ON records (year);
CREATE INDEX records_by_venue ON records (venue);
"""
# The lists of a record: their tables, and the columns of these beside record and position.
LISTS = {
    "authors": "name TEXT NOT NULL",
    "tags": "term TEXT NOT NULL",
    "topics": "term TEXT NOT NULL",
    "aliases": "alias TEXT NOT NULL",
    "code": "url TEXT NOT NULL, official INTEGER NOT NULL, framework TEXT",
    "builds_on": "other TEXT NOT NULL",
    "claims": "id TEXT NOT NULL, says TEXT NOT NULL, place TEXT NOT NULL",
    "listed_in": "list TEXT NOT NULL, section TEXT NOT NULL",
}
BITS = ("weights", "activations", "gradients", "errors")
LINKS = ("arxiv", "doi", "openreview", "url", "pdf")


def dump(entries: Iterable[Entry]) -> bytes:
    """Return the records as the bytes of a database file."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(TABLES)
        for table, columns in LISTS.items():
            connection.execute(
                f"CREATE TABLE {table} (record TEXT NOT NULL REFERENCES records (id), position INTEGER NOT NULL,"
                f" {columns}, PRIMARY KEY (record, position)) WITHOUT ROWID"
            )
        connection.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
        for entry in entries:
            _insert(connection, entry)
        connection.commit()
        connection.execute("PRAGMA user_version = 1")
        connection.execute("VACUUM")
        return connection.serialize()


def _insert(connection: sqlite3.Connection, entry: Entry) -> None:
    data = entry.data
    connection.execute("INSERT OR IGNORE INTO venues VALUES (?, ?)", (entry.venue, entry.venue_name))
    bits = [str(data["bits"][part]) if part in data["bits"] else None for part in BITS]
    links = [data["links"].get(key) for key in LINKS]
    values = (
        entry.id, entry.year, entry.title, entry.venue, entry.kind, data["pages"], *bits, *links,
        data["implementation"], data["notes"],
    )  # fmt: skip
    connection.execute(f"INSERT INTO records VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608 (bound)
    for table in LISTS:
        for position, row in enumerate(_rows(table, data[table]), 1):
            marks = ", ".join("?" * (len(row) + 2))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", (entry.id, position, *row))  # noqa: S608 (ours)


def _rows(table: str, values: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of one list of a record, without record and position."""
    for value in values:
        if table == "code":
            yield value["url"], int(value["official"]), value.get("framework")
        elif table == "claims":
            yield value["id"], value["says"], value["where"]
        elif table == "listed_in":
            name, _, section = value.partition("/")
            yield name, section
        else:
            yield (value,)
