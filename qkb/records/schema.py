"""JSON Schema of a record's file, for editors: made from the model, with the words of the vocabulary.

An editor with YAML support reads the first line of a record, finds papers/schema.json, and completes keys, venues,
topics and sections of reading lists. The file is generated; `qkb validate` tells when it is out of date.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qkb.records.faults import Fault
from qkb.records.model import RecordFields

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from qkb.records.model import Term
    from qkb.records.vocabulary import Vocabulary

FILE = "papers/schema.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def make_schema(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the schema of a record's file."""
    made: dict[str, Any] = _tidy(RecordFields.model_json_schema())
    keys = made["properties"]
    keys["venue"] |= _words({name: f"{venue.name}. {venue.description}" for name, venue in vocabulary.venues.items()})
    keys["topics"]["items"] |= _words(_meanings(vocabulary.topics))
    keys["tags"]["items"] |= _words(_meanings(vocabulary.tags))
    keys["listed_in"]["items"] |= _words(
        {
            f"{name}/{section.id}": f"{reading_list.title}: {section.title}"
            for name, reading_list in vocabulary.lists.items()
            for section in reading_list.sections
        }
    )
    links = made["$defs"]["Links"]
    links["minProperties"] = 1
    head = {
        "$schema": DIALECT,
        "title": "A record of the survey",
        "description": "Generated from the model and the vocabulary by `qkb validate --write-schema`; do not edit.",
    }
    return head | {key: value for key, value in made.items() if key not in head}


def schema_text(vocabulary: Vocabulary) -> str:
    """Return the schema as the text of its file."""
    return json.dumps(make_schema(vocabulary), ensure_ascii=False, indent=2) + "\n"


def check_schema(vocabulary: Vocabulary, root: Path) -> list[Fault]:
    """Return a fault where the file of the schema is missing, or says something else than it should."""
    try:
        given = json.loads((root / FILE).read_bytes())
    except FileNotFoundError:
        return [Fault(FILE, 1, "", "the file is missing: write it with qkb validate --write-schema")]
    except (OSError, ValueError, RecursionError):
        return [Fault(FILE, 1, "", "the file is no JSON: write it anew with qkb validate --write-schema")]
    if given == make_schema(vocabulary):
        return []
    message = "out of date with the model or the vocabulary: write it anew with qkb validate --write-schema"
    return [Fault(FILE, 1, "", message)]


def _meanings(terms: Mapping[str, Term]) -> dict[str, str]:
    return {name: f"{term.name}. {term.description}" for name, term in terms.items()}


def _words(meanings: dict[str, str]) -> dict[str, Any]:
    """Return the part of a schema that allows these words and says what each means."""
    if not meanings:
        return {}
    return {"enum": list(meanings), "enumDescriptions": list(meanings.values())}


def _tidy(part: Any) -> Any:
    """Drop what pydantic adds for itself: titles, defaults, null for a key that may be missing; forbid repetition."""
    if isinstance(part, list):
        return [_tidy(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    choices = part.get("anyOf", [])
    if {"type": "null"} in choices:
        kept = [choice for choice in choices if choice != {"type": "null"}]
        part = {key: value for key, value in part.items() if key != "anyOf"}
        part = {**kept[0], **part} if len(kept) == 1 else {"anyOf": kept, **part}
    tidy: dict[str, Any] = {}
    for key, value in part.items():
        if key == "properties":  # these keys are the record's own
            tidy[key] = {name: _tidy(inner) for name, inner in value.items()}
        elif key not in {"title", "default"}:
            tidy[key] = _tidy(value)
    if tidy.get("type") == "array":
        tidy["uniqueItems"] = True
    return tidy
