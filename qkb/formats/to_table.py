"""Aligned columns to read: id, year, venue, tags, bits, title.

With a width (a terminal's) there is a header, long cells are cut and the title takes what is left. Without one (a pipe
or a file) nothing is cut and there is no header, so that every line is a record. Columns are separated by two spaces,
never by tabs. Nothing is coloured, so there is nothing for NO_COLOR to switch off.
"""

from __future__ import annotations

from qkb.text import cut, printable, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qkb.entry import Entry

HEADER = ("ID", "YEAR", "VENUE", "TAGS", "BITS", "TITLE")
GAP = "  "
MOST = (28, 4, 16, 16, 10)  # columns that a cell may take on a terminal, the title apart
LEAST = 8  # on a narrow terminal the widest columns shrink first, down to this
LEAST_LAST = 24


def dump(entries: Iterable[Entry], columns: int | None = None) -> str:
    """Return the records as aligned columns.

    Args:
        entries: the records.
        columns: width of the terminal; None cuts nothing and leaves the header out.
    """
    rows = [
        (entry.id, str(entry.year), entry.venue, ",".join(entry.tags), entry.bits or "-", entry.title)
        for entry in entries
    ]
    return align(rows, HEADER, columns, MOST)


def align(
    rows: Sequence[tuple[str, ...]], header: tuple[str, ...], columns: int | None, most: Sequence[int] = ()
) -> str:
    """Return rows with their cells below each other; the last column is not padded.

    Args:
        rows: the cells.
        header: a row to put above them on a terminal.
        columns: width of the terminal, or None.
        most: how wide the first columns may be on a terminal; further ones may be as wide as they are.
    """
    if not rows:
        return ""
    cells = [tuple(map(printable, row)) for row in rows]
    if columns is not None:
        cells.insert(0, header)
        cells = [
            tuple(cut(cell, most[place]) if place < len(most) else cell for place, cell in enumerate(row))
            for row in cells
        ]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)][:-1]
    if columns is not None:
        room = columns - len(GAP) * len(widths)
        while room - sum(widths) < LEAST_LAST and max(widths) > LEAST:
            widths[widths.index(max(widths))] -= 1
        fits = [*widths, max(room - sum(widths), LEAST_LAST)]
        cells = [tuple(cut(cell, most) for cell, most in zip(row, fits, strict=True)) for row in cells]
    return "".join(
        "".join(cell + " " * (room - width(cell)) + GAP for cell, room in zip(row[:-1], widths, strict=True))
        + f"{row[-1]}\n"
        for row in cells
    )
