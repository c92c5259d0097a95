"""Drafts: records in which faulty parts are replaced, so that the rules can look at everything else.

Somebody who corrects a record wants all faults at once. A rule that needs the venue can run although a link is wrong;
so each faulty part is replaced by a harmless value of its kind, and what a rule says about that part is dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from qkb.records.faults import Fault
from qkb.records.model import Record, RecordFields
from qkb.records.yaml_lines import line_of

if TYPE_CHECKING:
    from collections.abc import Mapping

# The first key of a dotted path, the index after it, the next key.
PARTS = re.compile(r"([^.\[]+)(?:\[(\d+)\])?(?:\.([^.\[]+))?")
# A valid value for each key that a record must have, and for each kind of list item.
HARMLESS: dict[str, Any] = {
    "title": "?",
    "authors": ("?",),
    "venue": "?",
    "kind": "preprint",
    "tags": ("other",),
    "topics": ("faulty",),
    "links": {},
    "implementation": "wanted",
    "claims": ({"id": "faulty", "says": "?", "where": "?"},),
    "notes": "?",
    # Keys that may be missing, where an item of theirs is faulty.
    "code": ({"url": "https://faulty.example"},),
    "aliases": ("?",),
    "builds_on": ("faulty",),
    "listed_in": ("faulty/faulty",),
}


@dataclass(frozen=True)
class Draft:
    """A record for the rules.

    Args:
        file: name of the file in faults.
        record: the record, faulty parts replaced.
        lines: dotted path -> line.
        faulty: the dotted paths of the parts that were replaced.
    """

    file: str
    record: Record
    lines: Mapping[str, int]
    faulty: tuple[str, ...] = ()

    def fault(self, path: str, message: str) -> Fault:
        """Return a fault of this record, with its line."""
        return Fault(self.file, line_of(self.lines, path), path, message)

    def sound(self, path: str) -> bool:
        """Tell whether a part of the record is what the file says: neither it, nor what it stands in, was replaced.

        >>> draft = Draft("f", Record.model_construct(), {}, ("code[1].url", "notes"))
        >>> draft.sound("code[0]"), draft.sound("code[1]"), draft.sound("code[1].url"), draft.sound("code[10]")
        (True, False, False, True)
        """
        return not any(_overlap(path, other) for other in self.faulty)


def _overlap(path: str, other: str) -> bool:
    """Tell whether one of two dotted paths leads to a part of the other."""
    short, long = sorted((path, other), key=len)
    return long.startswith(short) and long[len(short) : len(short) + 1] in ("", ".", "[")


def mend(value: Mapping[str, Any], faulty: tuple[str, ...]) -> Record | None:
    """Make a record of plain data by replacing its faulty parts; None where that does not help."""
    mended = {key: part for key, part in value.items() if key in Record.model_fields}
    for path in faulty:
        key, index, inner = _split(path)
        known = RecordFields.model_fields.get(key)
        if known is None:
            continue
        part = mended.get(key)
        if isinstance(part, dict) and inner:
            mended[key] = _without(part, inner)
        elif isinstance(part, tuple) and index is not None and isinstance(HARMLESS.get(key), tuple):
            mended[key] = tuple(_mended_item(one, key, inner) if at == index else one for at, one in enumerate(part))
        elif known.is_required():
            mended[key] = HARMLESS[key]
        else:
            mended.pop(key, None)
    try:
        return Record.model_validate(mended)
    except ValidationError:
        return None


def _mended_item(item: object, key: str, inner: str) -> object:
    """Return the item of a list without its faulty part: whatever it must have and has not is harmless."""
    harmless = HARMLESS[key][0]
    if isinstance(item, dict) and isinstance(harmless, dict) and inner:
        return harmless | _without(item, inner)
    return harmless


def _without(part: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: inner for name, inner in part.items() if name != key}


def _split(path: str) -> tuple[str, int | None, str]:
    """Return the first key of a dotted path, the index after it, and the next key.

    >>> _split("code[1].url"), _split("links.arxiv"), _split("topics[0]")
    (('code', 1, 'url'), ('links', None, 'arxiv'), ('topics', 0, ''))
    """
    found = PARTS.match(path)
    if found is None:
        return path, None, ""
    key, index, inner = found.groups()
    return key, int(index) if index else None, inner or ""
