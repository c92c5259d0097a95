from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from qkb.formats import sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from qkb.entry import Entry


def ask(tmp_path: Path, entries: list[Entry], question: str) -> list[Any]:
    """Write a database, open it for reading only, and ask it."""
    target = tmp_path / "records.sqlite"
    target.write_bytes(sqlite.dump(entries))
    with closing(sqlite3.connect(f"file:{target}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return connection.execute(question).fetchall()


def test_records(tmp_path: Path, hard: Entry, plain: Entry) -> None:
    rows = ask(
        tmp_path, [hard, plain], "SELECT id, year, title, weights, activations, doi, pages FROM records ORDER BY id"
    )
    assert rows == [
        ("hard", 2016, hard.title, "1", "2..8", "10.5555/a_b%c&d", "12-20"),
        ("plain", 2017, "A plain preprint", None, None, None, None),
    ]


def test_lists_keep_their_order(tmp_path: Path, hard: Entry, plain: Entry) -> None:
    names = ask(tmp_path, [hard, plain], "SELECT name FROM authors WHERE record = 'hard' ORDER BY position")
    assert [name for (name,) in names] == hard["authors"]
    code = ask(tmp_path, [hard], "SELECT url, official, framework FROM code ORDER BY position")
    assert code == [("https://code.example/a_(b)", 1, None), ("https://code.example/c", 0, "torch7")]
    assert ask(tmp_path, [hard], "SELECT list, section FROM listed_in") == [("list", "one")]
    assert ask(tmp_path, [hard], "SELECT id, says, place FROM claims") == [("claim", "it holds", "Sec. 1")]
    assert ask(tmp_path, [hard], "SELECT other FROM builds_on") == [("plain",)]


def test_a_question_across_tables(tmp_path: Path, hard: Entry, plain: Entry) -> None:
    question = (
        "SELECT r.id, v.name FROM records AS r JOIN venues AS v ON v.id = r.venue JOIN tags AS t ON t.record = r.id"
        " WHERE t.term = 'bnn'"
    )
    assert ask(tmp_path, [hard, plain], question) == [("hard", "Fabricated Conference & Fair")]


def test_every_table_is_explained(tmp_path: Path) -> None:
    tables = ask(tmp_path, [], "SELECT name FROM sqlite_master WHERE type = 'table'")
    assert len(tables) == 11
    assert all(f"`{name}`" in (sqlite.__doc__ or "") for (name,) in tables)
    assert ask(tmp_path, [], "SELECT value FROM meta WHERE key = 'schema'") == [("1",)]


def test_the_same_records_give_the_same_bytes(hard: Entry, plain: Entry) -> None:
    assert sqlite.dump([hard, plain]) == sqlite.dump([hard, plain])
