"""The library of records, for Python: the same questions as on the command line, answered by the same code.

Example:
    for entry in Library.open().query(tags="bnn", years=range(2015, 2019)):
        print(entry.id, entry.title)
"""

from __future__ import annotations

import functools

from qkb import paths
from qkb.entry import Entry
from qkb.errors import UsageError, nearest
from qkb.filters import RECORDS, select
from qkb.index import Index
from qkb.text import fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from qkb.records.model import Record
    from qkb.records.vocabulary import Vocabulary

    Asked = str | Iterable[str] | None
    AskedYears = str | int | Iterable[int | str] | None

# What Python calls the filters, and what the command line and `qkb.filters` call them.
ARGUMENTS = {
    "tags": "tag",
    "years": "year",
    "venues": "venue",
    "authors": "author",
    "topics": "topic",
    "bits": "bits",
    "has": "has",
    "text": "text",
    "kind": "kind",
    "lists": "list",
    "ids": "id",
}
_BEFORE_IDENTIFIERS = (
    "https://", "http://", "www.", "dx.", "doi.org/", "doi:", "arxiv.org/", "abs/", "pdf/", "arxiv:",
    "openreview.net/", "forum?id=",
)  # fmt: skip
_COLUMNS = "r.id, r.year, r.title, r.venue, coalesce(v.name, r.venue), r.kind, r.tags, r.bits"


class Library:
    """The records of one library as they were when it was opened; `refresh` looks at the files again.

    Args:
        place: where the library is.
        notify: called with a sentence where the user has to wait.
    """

    def __init__(self, place: paths.Place, notify: Callable[[str], None] | None = None) -> None:
        self.place = place
        self._notify = notify
        self._index = Index(place, notify)

    @classmethod
    def open(
        cls, root: str | os.PathLike[str] | None = None, *, notify: Callable[[str], None] | None = None
    ) -> Library:
        """Open the library in or above a folder (default: the current one), else the installed copy.

        Raises:
            NoLibraryError: there is none; the message says what to do.
        """
        return cls(root if isinstance(root, paths.Place) else paths.locate(root), notify)

    @property
    def faulty(self) -> int:
        """How many files of the library have faults; what they say may be missing from answers."""
        return self._index.faulty

    @property
    def index(self) -> Index:
        """The index that answers; `qkb.index_rows` describes its tables."""
        return self._index

    def refresh(self) -> None:
        """Look at the files again; what was asked before keeps its answer."""
        self._index = Index(self.place, self._notify)

    def query(
        self,
        *,
        tags: Asked = None,
        years: AskedYears = None,
        venues: Asked = None,
        authors: Asked = None,
        topics: Asked = None,
        bits: Asked = None,
        has: Asked = None,
        text: Asked = None,
        kind: Asked = None,
        lists: Asked = None,
        ids: Asked = None,
        exclude: Mapping[str, AskedYears] | None = None,
        sort: Asked = None,
        limit: int | None = None,
    ) -> list[Entry]:
        """Return the records that satisfy every filter given.

        A filter takes one value or several, of which one must hold; None is no filter, and no values (an empty
        set) hold for no record.

        Args:
            tags: terms of the tags, in any case.
            years: a year, a `range`, several, or text such as `"2015..2018"`, `"..2016"` or `"2019.."`.
            venues: short or full names of venues.
            authors: parts of names; case and accents do not matter.
            topics: terms of the topics.
            bits: bit-widths as in `"w1a1"`, `"w2..4"` or `"wfp"`; a record's range matches where it overlaps.
            has: what the record must have, one of `qkb.filters.HAS`.
            text: words, `"phrases"` in double quotes and starts of words with `*`, all of which must occur.
            kind: kinds of work, of `qkb.filters.KINDS`.
            lists: reading lists, or sections of them as `list/section`.
            ids: names of records.
            exclude: values that must not hold, by the names of the arguments above.
            sort: `year`, `title`, `venue`, `id` or `relevance`, with `-` in front for the other direction; several
                are separated by commas. Default: relevance where there is a text, else year.
            limit: how many at most.

        Raises:
            UsageError: a value is not known or cannot be understood; the message suggests what to write.
        """
        given = {
            "tags": tags, "years": years, "venues": venues, "authors": authors, "topics": topics, "bits": bits,
            "has": has, "text": text, "kind": kind, "lists": lists, "ids": ids,
        }  # fmt: skip
        excluded = []
        for name, asked in (exclude or {}).items():
            if name not in ARGUMENTS:
                raise UsageError(f"exclude: there is no filter {name!r}. {nearest(name, ARGUMENTS)}")
            excluded += [(ARGUMENTS[name], value) for value in _values(asked)]
        sql, values = select(
            self._index,
            _COLUMNS,
            {ARGUMENTS[name]: _values(asked) for name, asked in given.items() if asked is not None},
            excluded,
            sort=_values(sort),
            limit=limit,
        )
        return self._entries(sql, values)

    def lookup(self, name: str) -> list[Entry]:
        """Return the records that somebody may mean by a name, the surest kind of match only.

        That is, in this order: an id; a title; an alias, arXiv id, DOI or OpenReview id, also within its address; the
        beginning of ids.
        """
        identifier = fold(name)
        for prefix in _BEFORE_IDENTIFIERS:
            identifier = identifier.removeprefix(prefix).strip()
        identifier = identifier.removesuffix(".pdf")
        number, _, version = identifier.rpartition("v")
        questions = [
            ("r.id = ?", name),
            ("r.id = ?", fold(name)),
            ("r.title_order = ?", fold(name)),
            *(
                ("r.key IN (SELECT key FROM labels WHERE what = 'name' AND value = ?)", value)
                for value in (fold(name), identifier, number if version.isdigit() else identifier)
            ),
            ("substr(r.id, 1, length(?1)) = ?1", fold(name)),
        ]
        for condition, value in questions:
            sql = f"SELECT {_COLUMNS} FROM {RECORDS} WHERE NOT r.shadowed AND {condition} ORDER BY r.id"  # noqa: S608
            found = self._entries(sql, [value]) if value else []
            if found:
                return found
        return []

    def nearest(self, name: str) -> str:
        """Return a sentence that suggests records of a name like this one, or an empty string."""
        others = "SELECT value FROM labels WHERE what = 'name' UNION SELECT title FROM records"
        for question in ("SELECT id FROM records", others):
            hint = nearest(name, [known for (known,) in self._index.rows(question)])
            if hint:
                return hint
        return ""

    def record(self, name: str) -> Record:
        """Return a record by its id, validated.

        Raises:
            KeyError: there is no such record.
        """
        return _record(self._stored(name))

    def records(self) -> dict[str, Record]:
        """Return all records by id, validated, in the order of their ids."""
        rows = self._index.rows("SELECT id, data FROM records JOIN contents USING (key) WHERE NOT shadowed ORDER BY id")
        return {name: _record(data) for name, data in rows}

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabularies, read from their files."""
        from qkb.records.vocabulary import load_vocabulary  # noqa: PLC0415 (YAML, pydantic)

        return load_vocabulary(self.place).vocabulary

    def _entries(self, sql: str, values: list[Any]) -> list[Entry]:
        return [
            Entry((*columns, tuple(tags.split()), bits), functools.partial(self._data, columns[0]))
            for *columns, tags, bits in self._index.rows(sql, values)
        ]

    def _data(self, name: str) -> dict[str, Any]:
        import json  # noqa: PLC0415 (a table does without)

        data: dict[str, Any] = json.loads(self._stored(name))
        return data

    def _stored(self, name: str) -> str:
        sql = "SELECT data FROM records JOIN contents USING (key) WHERE id = ? AND NOT shadowed"
        rows = self._index.rows(sql, (name,))
        if not rows:
            raise KeyError(name)
        stored: str = rows[0][0]
        return stored


def _record(data: str) -> Record:
    from qkb.records.model import Record  # noqa: PLC0415 (pydantic)

    return Record.model_validate_json(data)


def _values(asked: Any) -> list[Any]:
    if asked is None:
        return []
    if isinstance(asked, str | int) or (isinstance(asked, range) and asked.step == 1):
        return [asked]
    return list(asked)
