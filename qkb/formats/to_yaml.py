"""YAML: the record files in their canonical layout, as a stream of documents.

A file says its id and year by its path, so each document begins with that path, as a comment.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qkb.records.layout import HEADER, lay_out
from qkb.records.yaml_lines import parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qkb.entry import Entry


def dump(entries: Iterable[Entry]) -> str:
    """Return the records as YAML documents."""
    return "".join(map(_document, entries))


def _document(entry: Entry) -> str:
    path = f"papers/{entry.year}/{entry.id}.yaml"
    # What JSON writes is YAML too, and the layout takes any.
    text = lay_out(parse(json.dumps(_fields(entry), ensure_ascii=False).encode(), path), path)
    return f"---\n# {path}\n{text.removeprefix(HEADER).lstrip()}"


def _fields(entry: Entry) -> dict[str, Any]:
    """Return the keys of the file: without id and year, and without what is only a default."""
    fields = {
        key: value for key, value in entry.data.items() if key not in {"id", "year"} and value not in (None, [], {})
    }
    if "code" in fields:
        fields["code"] = [
            {key: value for key, value in code.items() if (key, value) != ("official", False)}
            for code in fields["code"]
        ]
    return fields
