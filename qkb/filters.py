"""What can be asked of the records: the filters of `qkb query` and of `Library.query`, as SQL over the index.

A filter that is given several values accepts any of them; several filters must all hold; an excluded value must not
hold. What is asked is checked before anything is searched: an unknown tag is a mistake, not an empty answer.
"""

from __future__ import annotations

import re
import sys

from qkb.errors import UsageError, nearest
from qkb.text import fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from qkb.index import Index

    Sql = tuple[str, list[Any]]

KINDS = ("conference", "workshop", "journal", "preprint", "thesis", "report", "blog", "software", "book")
HAS = ("code", "official-code", "fpga", "implementation", "claims", "arxiv", "doi")
SORTS = {
    "year": "r.year",
    "title": "r.title_order",
    "venue": "r.venue COLLATE NOCASE",
    "id": "r.id",
    "relevance": "hits.rank",
}
RECORDS = "records AS r LEFT JOIN terms AS v ON v.what = 'venue' AND v.id = r.venue"
# The weights are those of title, authors, names, claims and notes.
RANKED = (
    " JOIN (SELECT rowid, bm25(words, 10.0, 4.0, 8.0, 2.0, 1.0) AS rank FROM words WHERE words MATCH ?) AS hits"
    " ON hits.rowid = r.key"
)
OPEN_END = 9999
MOST_WORDS = 100
_BITS = re.compile(r"([wage])(fp|\d{1,2}(?:\.\.\d{1,2})?)")
_WORDS = re.compile(r'"([^"]*)"?(\*?)|([^\s"]+)')


def select(
    index: Index,
    columns: str,
    wanted: dict[str, list[Any]],
    excluded: Iterable[tuple[str, Any]] = (),
    *,
    sort: Iterable[str] = (),
    limit: int | None = None,
) -> Sql:
    """Return the SQL that finds the records, and its values.

    Args:
        index: the index, asked for the vocabulary.
        columns: what to select; `r` is the record and `v` the term of its venue.
        wanted: values by name of filter; of each filter one value must hold, so an empty list finds nothing.
        excluded: names of filters with a value that must not hold.
        sort: keys of `SORTS`, each with a `-` in front for the other direction.
        limit: how many records at most.

    Raises:
        UsageError: a value is unknown or cannot be understood.
    """
    texts = wanted.get("text")
    source, conditions = RECORDS, ["NOT r.shadowed"]
    values: list[Any] = []
    if texts:
        source += RANKED
        values.append(" OR ".join(f"({match_expression(text)})" for text in texts))
    for name, asked in wanted.items():
        if name == "text" and texts:
            continue
        parts = [_ids(asked)] if name == "id" else [_condition(index, name, value) for value in asked]
        conditions.append(_any([sql for sql, _ in parts]))
        values += [value for _, these in parts for value in these]
    unwanted = [_condition(index, name, value) for name, value in excluded]
    conditions.append(f"({_any([sql for sql, _ in unwanted])}) IS NOT TRUE")
    values += [value for _, these in unwanted for value in these]
    order = ", ".join((*_order(sort, relevance=bool(texts)), "r.year", "r.id"))
    sql = f"SELECT {columns} FROM {source} WHERE {' AND '.join(f'({sql})' for sql in conditions)} ORDER BY {order}"  # noqa: S608 (values are bound)
    if limit is not None:
        if limit < 1:
            raise UsageError(f"--limit {limit}: write a number from 1 on")
        sql += " LIMIT ?"
        values.append(min(limit, sys.maxsize))
    return sql, values


def years(text: str | int) -> tuple[int, int]:
    """Return the first and the last year of a range.

    >>> years(2017), years("2015..2018"), years("..2016"), years("2019..")
    ((2017, 2017), (2015, 2018), (0, 2016), (2019, 9999))
    """
    first, dots, last = str(text).strip().partition("..")
    given = [part for part in (first, last) if part]
    if not given or not all(part.isascii() and part.isdigit() and len(part) == 4 for part in given):
        raise UsageError(f"--year {text}: write a year (2017), a range (2015..2018) or an open one (..2016, 2019..)")
    if not dots:
        return int(first), int(first)
    low, high = int(first or 0), int(last or OPEN_END)
    if low > high:
        raise UsageError(f"--year {text}: no year is in this range; write {last}..{first}")
    return low, high


def bits(text: str) -> list[tuple[str, int, int]]:
    """Return letter, smallest and largest number of bits of each part.

    >>> bits("w1a1"), bits("w2..4"), bits("afp")
    ([('w', 1, 1), ('a', 1, 1)], [('w', 2, 4)], [('a', 1000, 1000)])
    """
    from qkb.index_rows import bit_range  # noqa: PLC0415 (reads JSON, which most queries do not need)

    asked = text.strip().lower()
    parts = _BITS.findall(asked)
    if not parts or "".join(letter + width for letter, width in parts) != asked:
        raise UsageError(
            f"--bits {text}: write w, a, g or e (weights, activations, gradients, errors) and a number of bits, "
            "a range or fp: w1a1, w2..4, w8afp"
        )
    return [(letter, *bit_range(width)) for letter, width in parts]


def match_expression(text: str) -> str:
    """Return what a user typed as an FTS5 query: all words, "phrases", and beginnings with a star.

    Every word is quoted, so nothing of what is typed can be an operator of that language.

    >>> match_expression('popcount "binary weights" quanti* NEAR( OR')
    '"popcount" AND "binary weights" AND "quanti"* AND "NEAR(" AND "OR"'
    """
    terms = []
    for phrase, star, word in _WORDS.findall(text.replace("\0", " ")):
        start = bool(star) or word.endswith("*")
        term = phrase or word.rstrip("*")
        if any(char.isalnum() for char in term):
            terms.append(f'"{term}"' + "*" * start)
    if not terms:
        raise UsageError(f'--text {text!r}: no word to search for; write words, "phrases" or the start of a word*')
    if len(terms) > MOST_WORDS:
        raise UsageError(f"--text: {len(terms)} words are too many; write up to {MOST_WORDS}")
    return " AND ".join(terms)


def resolve(index: Index, what: str, value: str) -> list[str]:
    """Return the terms of a vocabulary that a user may mean: by id or name, in any case.

    Raises:
        UsageError: there is none; the message suggests the nearest.
    """
    spelled = index.rows("SELECT id FROM spellings WHERE what = ? AND spelling = ?", (what, fold(value)))
    if spelled:
        return [term for (term,) in spelled]
    if what == "venue":  # a record may use a term before somebody adds it to the vocabulary
        used = "SELECT DISTINCT venue FROM records WHERE ? = 'venue'"
    else:
        used = "SELECT DISTINCT value FROM labels WHERE what = ?"
    in_use = [term for (term,) in index.rows(used, (what,))]
    found = [term for term in in_use if fold(term) == fold(value)]
    if found:
        return found
    known = {term for (term,) in index.rows("SELECT id FROM terms WHERE what = ?", (what,))} | set(in_use)
    names = [name for (name,) in index.rows("SELECT spelling FROM spellings WHERE what = ?", (what,))]
    hint = nearest(value, known) or nearest(value, names) or f"qkb list {what}s prints them all"
    raise UsageError(f"there is no {what} {value!r}. {hint}")


def _any(conditions: list[str]) -> str:
    """Return the SQL that one of the conditions holds; balanced, because SQLite limits how deep SQL may nest."""
    if len(conditions) < 2:
        return conditions[0] if conditions else "FALSE"
    middle = len(conditions) // 2
    return f"({_any(conditions[:middle])}) OR ({_any(conditions[middle:])})"


def _condition(index: Index, name: str, value: Any) -> Sql:
    make = _CONDITIONS.get(name)
    if make is None:
        raise UsageError(f"there is no filter {name!r}. {nearest(name, _CONDITIONS) or ', '.join(_CONDITIONS)}")
    return make(index, value)


def _term(what: str) -> Callable[[Index, Any], Sql]:
    def condition(index: Index, value: Any) -> Sql:
        terms = resolve(index, what, str(value))
        marks = ", ".join("?" * len(terms))
        return f"r.key IN (SELECT key FROM labels WHERE what = '{what}' AND value IN ({marks}))", [*terms]  # noqa: S608

    return condition


def _venue(index: Index, value: Any) -> Sql:
    terms = resolve(index, "venue", str(value))
    return f"r.venue IN ({', '.join('?' * len(terms))})", [*terms]


def _one_of(what: str, column: str, known: tuple[str, ...]) -> Callable[[Index, Any], Sql]:
    def condition(_: Index, value: Any) -> Sql:
        if value not in known:
            hint = nearest(str(value), known) or f"write one of {', '.join(known)}"
            raise UsageError(f"--{what} {value}: {hint}")
        return column, [value]

    return condition


def _has(index: Index, value: Any) -> Sql:
    if value == "fpga":
        return "r.id IN (SELECT id FROM hardware)", []
    labelled = "r.key IN (SELECT key FROM labels WHERE what = 'has' AND value = ?)"
    return _one_of("has", labelled, HAS)(index, value)


def _year(_: Index, value: Any) -> Sql:
    if isinstance(value, range) and value.step == 1:
        return "r.year BETWEEN ? AND ?", [value.start, value.stop - 1]
    return "r.year BETWEEN ? AND ?", [*years(value)]


def _author(_: Index, value: Any) -> Sql:
    folded = fold(str(value))
    if not folded:
        raise UsageError("--author: write a name or a part of one")
    return "instr(r.authors, ?)", [folded]


def _bits(_: Index, value: Any) -> Sql:
    parts = bits(str(value))
    return (
        " AND ".join(f"r.{letter}_from <= ? AND r.{letter}_to >= ?" for letter, _, _ in parts),
        [bound for _, low, high in parts for bound in (high, low)],
    )


def _text(_: Index, value: Any) -> Sql:
    return "r.key IN (SELECT rowid FROM words WHERE words MATCH ?)", [match_expression(str(value))]


def _id(_: Index, value: Any) -> Sql:
    return "r.id = ?", [value]


def _ids(names: list[Any]) -> Sql:
    """Return the condition for several ids as one value: programs ask for very many."""
    import json  # noqa: PLC0415

    return "r.id IN (SELECT value FROM json_each(?))", [json.dumps([*map(str, names)])]


def _order(sort: Iterable[str], *, relevance: bool) -> Iterator[str]:
    keys = [key for part in sort for key in part.split(",") if key]
    for key in keys or (["relevance"] if relevance else []):
        name = key.removeprefix("-")
        if name not in SORTS or (name == "relevance" and not relevance):
            hint = "relevance needs --text" if name == "relevance" else nearest(name, SORTS) or ", ".join(SORTS)
            raise UsageError(f"--sort {key}: {hint}")
        yield SORTS[name] + " DESC" * key.startswith("-")


_CONDITIONS: dict[str, Callable[[Index, Any], Sql]] = {
    "tag": _term("tag"),
    "topic": _term("topic"),
    "list": _term("list"),
    "venue": _venue,
    "year": _year,
    "author": _author,
    "bits": _bits,
    "text": _text,
    "kind": _one_of("kind", "r.kind = ?", KINDS),
    "has": _has,
    "id": _id,
}
FILTERS = tuple(_CONDITIONS)
