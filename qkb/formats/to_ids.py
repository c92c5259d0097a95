"""One id per line, for scripts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from qkb.entry import Entry


def dump(entries: Iterable[Entry]) -> str:
    """Return the ids, one per line."""
    return "".join(f"{entry.id}\n" for entry in entries)
