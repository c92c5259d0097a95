"""JSON lines: one whole record per line, with the keys of `qkb.entry.Entry.data`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qkb.entry import Entry


def dump(entries: Iterable[Entry]) -> str:
    """Return the records as JSON, one per line."""
    return "".join(json.dumps(entry.data, ensure_ascii=False) + "\n" for entry in entries)
