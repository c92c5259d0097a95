"""A Markdown table with one row per record: a linked title, authors, venue and year, tags, bits, code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qkb.formats.addresses import address
from qkb.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qkb.entry import Entry

HEADER = "| Year | Title | Authors | Venue | Tags | Bits | Code |\n| ---: | --- | --- | --- | --- | --- | --- |\n"
SHOWN_AUTHORS = 3
# What Markdown, or HTML within it, would take for more than text.
_ACTIVE = re.compile(r"([\\`*_\[\]{}<>|#~&$!])")


def dump(entries: Iterable[Entry]) -> str:
    """Return the header and one row per record; without records only the header."""
    return HEADER + "".join(_row(entry) for entry in entries)


def escape(text: str) -> str:
    r"""Return text that Markdown shows as it stands, also in a cell of a table.

    >>> escape("a*b | <i> [x]")
    'a\\*b \\| \\<i\\> \\[x\\]'
    """
    return _ACTIVE.sub(r"\\\1", printable(text).replace("\n", " "))


def _row(entry: Entry) -> str:
    data = entry.data
    authors = data["authors"]
    if len(authors) > SHOWN_AUTHORS:
        authors = [*authors[:SHOWN_AUTHORS], "et al."]
    code = [_link("official" if one["official"] else one.get("framework", "code"), one["url"]) for one in data["code"]]
    cells = (
        str(entry.year),
        _link(entry.title, address(data["links"])),
        escape(", ".join(authors)),
        escape(entry.venue),
        escape(", ".join(entry.tags)),
        entry.bits,
        ", ".join(code),
    )
    return f"| {' | '.join(cells)} |\n"


def _link(text: str, url: str) -> str:
    if not url:
        return escape(text)
    # In angle brackets, brackets of an address end nothing; a bar would still end the cell.
    return f"[{escape(text)}](<{url.replace('|', '%7C').replace('<', '%3C').replace('>', '%3E')}>)"
