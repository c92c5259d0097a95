"""A record as a query answers it: the columns of a table at once, everything else when asked for.

An `Entry` costs far less than a `Record`: nothing is validated again, and the record's data are read from the index
only when something beyond the columns is used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost every query 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from qkb.records.model import Record

# What `--bits` and the column of bits call the four quantities.
BIT_LETTERS = (("w", "weights"), ("a", "activations"), ("g", "gradients"), ("e", "errors"))


class Entry:
    """One answer of a query; its formats are `qkb.formats`.

    Attributes:
        id: name of the record.
        year: year of the work.
        title: published title.
        venue: term of the venue vocabulary.
        venue_name: full name of the venue, as a bibliography prints it.
        kind: kind of work.
        tags: tags, in the record's order.
        bits: bit-widths in the shorthand of `--bits`, such as `w1a1`; empty where the record names none.
    """

    __slots__ = ("_data", "_load", "bits", "id", "kind", "tags", "title", "venue", "venue_name", "year")

    def __init__(
        self,
        columns: tuple[str, int, str, str, str, str, tuple[str, ...], str],
        load: Callable[[], dict[str, Any]],
    ) -> None:
        self.id, self.year, self.title, self.venue, self.venue_name, self.kind, self.tags, self.bits = columns
        self._load = load
        self._data: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Entry({self.id!r}, {self.year})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return self.data == other.data

    def __hash__(self) -> int:
        return hash((self.id, self.year))

    @property
    def data(self) -> dict[str, Any]:
        """The whole record: `id`, `year` and the keys of its file in their canonical order, as JSON has them.

        Every key is there: lists may be empty, `bits` and `links` name only what the record names, `pages` may be None.
        """
        if self._data is None:
            self._data = self._load()
        return self._data

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    @classmethod
    def of(cls, record: Record, venue_name: str | None = None) -> Entry:
        """Return the entry of a validated record; without a name the venue's term stands for it."""
        data = data_of(record)
        columns = (
            record.id,
            record.year,
            record.title,
            record.venue,
            venue_name or record.venue,
            str(record.kind),
            tuple(str(tag) for tag in record.tags),
            shorthand(data["bits"]),
        )
        return cls(columns, lambda: data)


def data_of(record: Record) -> dict[str, Any]:
    """Return a record as JSON has it: see `Entry.data`."""
    fields = record.model_dump(mode="json")
    for part in ("bits", "links"):
        fields[part] = {key: value for key, value in (fields[part] or {}).items() if value is not None}
    fields["code"] = [{key: value for key, value in code.items() if value is not None} for code in fields["code"]]
    return {"id": fields.pop("id"), "year": fields.pop("year"), **fields}


def shorthand(bits: Mapping[str, int | str]) -> str:
    """Return bit-widths as `--bits` writes them.

    >>> shorthand({"weights": "2..8", "activations": "fp", "gradients": 6})
    'w2..8afpg6'
    """
    return "".join(f"{letter}{bits[name]}" for letter, name in BIT_LETTERS if name in bits)
