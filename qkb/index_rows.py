"""What stands in the index: its tables, and the rows that a record and the vocabulary become."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qkb.entry import BIT_LETTERS, shorthand
from qkb.text import fold

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from qkb.records.vocabulary import Vocabulary

TABLES = """
CREATE TABLE meta (made_by TEXT NOT NULL, state BLOB NOT NULL, faulty INTEGER NOT NULL);
CREATE TABLE files (
    path TEXT PRIMARY KEY, stamp TEXT NOT NULL, digest BLOB NOT NULL, faulty INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE records (
    key INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, id TEXT NOT NULL, year INTEGER NOT NULL, title TEXT NOT NULL,
    venue TEXT NOT NULL, kind TEXT NOT NULL, tags TEXT NOT NULL, bits TEXT NOT NULL, implementation TEXT NOT NULL,
    authors TEXT NOT NULL, title_order TEXT NOT NULL,
    w_from INTEGER, w_to INTEGER, a_from INTEGER, a_to INTEGER,
    g_from INTEGER, g_to INTEGER, e_from INTEGER, e_to INTEGER, shadowed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX records_by_id ON records (id);
CREATE INDEX records_by_year ON records (year);
CREATE TABLE contents (key INTEGER PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE labels (
    what TEXT NOT NULL, value TEXT NOT NULL, key INTEGER NOT NULL, PRIMARY KEY (what, value, key)
) WITHOUT ROWID;
CREATE TABLE hardware (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE terms (
    what TEXT NOT NULL, id TEXT NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL,
    PRIMARY KEY (what, id)
) WITHOUT ROWID;
CREATE TABLE spellings (
    what TEXT NOT NULL, spelling TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (what, spelling, id)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(
    title, authors, aliases, claims, notes, content='', tokenize='unicode61 remove_diacritics 2'
);
"""
FLOATING = 1000  # stands for `fp` among bit-widths: no range of integers reaches it


def remember(connection: sqlite3.Connection, path: str, data: Mapping[str, Any]) -> None:
    """Put the rows of a record into the index; `path` is that of its file below papers/."""
    columns = {
        "path": path,
        "id": data["id"],
        "year": data["year"],
        "title": data["title"],
        "venue": data["venue"],
        "kind": data["kind"],
        "tags": " ".join(data["tags"]),
        "bits": shorthand(data["bits"]),
        "implementation": data["implementation"],
        "authors": "\n".join(fold(name) for name in data["authors"]),
        "title_order": fold(data["title"]),
    }
    for letter, name in BIT_LETTERS:
        if name in data["bits"]:
            columns[f"{letter}_from"], columns[f"{letter}_to"] = bit_range(data["bits"][name])
    names = ", ".join(columns)
    marks = ", ".join("?" * len(columns))
    key = connection.execute(f"INSERT INTO records ({names}) VALUES ({marks})", [*columns.values()]).lastrowid  # noqa: S608 (our own names)
    connection.execute("INSERT INTO contents VALUES (?, ?)", (key, json.dumps(data, ensure_ascii=False)))
    connection.executemany(
        "INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", [(what, value, key) for what, value in _labels(data)]
    )
    connection.execute(
        "INSERT INTO words (rowid, title, authors, aliases, claims, notes) VALUES (?, ?, ?, ?, ?, ?)",
        (key, *_searched(data)),
    )


def forget(connection: sqlite3.Connection, path: str) -> None:
    """Remove the rows of the record whose file was `path`, if there are any."""
    found = connection.execute(
        "SELECT key, data FROM records JOIN contents USING (key) WHERE path = ?", (path,)
    ).fetchone()
    if found is None:
        return
    key, data = found[0], json.loads(found[1])
    # The words keep no copy of the text; to leave, it has to be shown once more.
    connection.execute(
        "INSERT INTO words (words, rowid, title, authors, aliases, claims, notes) VALUES ('delete', ?, ?, ?, ?, ?, ?)",
        (key, *_searched(data)),
    )
    connection.executemany(
        "DELETE FROM labels WHERE what = ? AND value = ? AND key = ?",
        [(what, value, key) for what, value in _labels(data)],
    )
    connection.execute("DELETE FROM contents WHERE key = ?", (key,))
    connection.execute("DELETE FROM records WHERE key = ?", (key,))


def learn_vocabulary(connection: sqlite3.Connection, vocabulary: Vocabulary) -> None:
    """Put the vocabulary into the index, in place of the one that stood there."""
    connection.execute("DELETE FROM terms")
    connection.execute("DELETE FROM spellings")
    for position, (what, name, title, description, others) in enumerate(_terms(vocabulary)):
        connection.execute("INSERT INTO terms VALUES (?, ?, ?, ?, ?)", (what, name, position, title, description))
        connection.executemany(
            "INSERT OR IGNORE INTO spellings VALUES (?, ?, ?)",
            [(what, fold(spelling), name) for spelling in (name, title, *others)],
        )


def bit_range(bits: int | str) -> tuple[int, int]:
    """Return the smallest and the largest number of bits.

    >>> bit_range(4), bit_range("2..8"), bit_range("fp")
    ((4, 4), (2, 8), (1000, 1000))
    """
    if bits == "fp":
        return FLOATING, FLOATING
    first, _, last = str(bits).partition("..")
    return int(first), int(last or first)


def _labels(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a record can be asked for by name."""
    for tag in data["tags"]:
        yield "tag", tag
    for topic in data["topics"]:
        yield "topic", topic
    for place in data["listed_in"]:
        yield "list", place
        yield "list", place.partition("/")[0]
    links = data["links"]
    has = {
        "code": bool(data["code"]),
        "official-code": any(code["official"] for code in data["code"]),
        "implementation": data["implementation"] != "wanted",
        "claims": bool(data["claims"]),
        "arxiv": "arxiv" in links,
        "doi": "doi" in links,
    }
    for what, it_has in has.items():
        if it_has:
            yield "has", what
    for name in data["aliases"]:
        yield "name", fold(name)
    for identifier in ("arxiv", "doi", "openreview"):
        if identifier in links:
            yield "name", fold(links[identifier])


def _searched(data: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Return the text that `--text` looks at, in the order of the columns of `words`."""
    claims = [text for claim in data["claims"] for text in (claim["id"], claim["says"], claim["where"])]
    names = (data["id"], *data["aliases"])
    return data["title"], "\n".join(data["authors"]), "\n".join(names), "\n".join(claims), data["notes"]


def _terms(vocabulary: Vocabulary) -> Iterator[tuple[str, str, str, str, tuple[str, ...]]]:
    """Yield kind, id, name, description and other names of every term."""
    for name, tag in vocabulary.tags.items():
        yield "tag", name, tag.name, tag.description, ()
    for name, topic in vocabulary.topics.items():
        yield "topic", name, topic.name, topic.description, ()
    for name, venue in vocabulary.venues.items():
        yield "venue", name, venue.name, venue.description, venue.aliases
    for name, reading_list in vocabulary.lists.items():
        yield "list", name, reading_list.title, reading_list.description, ()
        for section in reading_list.sections:
            yield "list", f"{name}/{section.id}", section.title, f"a section of {reading_list.title}", ()
