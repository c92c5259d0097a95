"""JSON: an array of whole records, with the keys of `qkb.entry.Entry.data`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qkb.entry import Entry


def dump(entries: Iterable[Entry]) -> str:
    """Return the records as one JSON array, indented by two."""
    return json.dumps([entry.data for entry in entries], ensure_ascii=False, indent=2) + "\n"
