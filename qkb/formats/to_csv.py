"""CSV: a header and one row per record, comma-separated, quoted where needed, lines ended by a line feed.

Several values in one cell are separated by `; `. A cell never begins with a character that makes a spreadsheet
program take it for a formula: an apostrophe is put before it, as these programs themselves do.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qkb.entry import Entry

HEADER = (
    "id", "year", "title", "authors", "venue", "venue_name", "kind", "pages", "tags", "topics", "weights",
    "activations", "gradients", "errors", "arxiv", "doi", "openreview", "url", "pdf", "code", "official_code",
    "aliases", "builds_on", "implementation", "listed_in",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def dump(entries: Iterable[Entry]) -> str:
    """Return a header and one row per record."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows([safe(cell) for cell in _row(entry)] for entry in entries)
    return text.getvalue()


def _row(entry: Entry) -> list[str]:
    data, bits, links = entry.data, entry.data["bits"], entry.data["links"]
    return [
        entry.id,
        str(entry.year),
        entry.title,
        "; ".join(data["authors"]),
        entry.venue,
        entry.venue_name,
        entry.kind,
        data["pages"] or "",
        "; ".join(entry.tags),
        "; ".join(data["topics"]),
        *(str(bits.get(part, "")) for part in ("weights", "activations", "gradients", "errors")),
        *(links.get(part, "") for part in ("arxiv", "doi", "openreview", "url", "pdf")),
        "; ".join(code["url"] for code in data["code"]),
        "; ".join(code["url"] for code in data["code"] if code["official"]),
        "; ".join(data["aliases"]),
        "; ".join(data["builds_on"]),
        data["implementation"],
        "; ".join(data["listed_in"]),
    ]


def safe(cell: str) -> str:
    """Return a cell that no spreadsheet program takes for a formula.

    >>> safe("=1+1"), safe("1-bit")
    ("'=1+1", '1-bit')
    """
    return f"'{cell}" if cell.startswith(FORMULA) else cell
