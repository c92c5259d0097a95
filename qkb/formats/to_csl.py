"""CSL-JSON: an array of items for pandoc, Zotero and other programs that cite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qkb.formats import names
from qkb.formats.addresses import addresses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qkb.entry import Entry

# kind -> type of the item, and the variable that takes the venue
TYPES = {
    "conference": ("paper-conference", "container-title"),
    "workshop": ("paper-conference", "container-title"),
    "journal": ("article-journal", "container-title"),
    "preprint": ("article", "publisher"),
    "thesis": ("thesis", "publisher"),
    "report": ("report", "publisher"),
    "blog": ("post-weblog", "container-title"),
    "software": ("software", "publisher"),
    "book": ("book", "publisher"),
}


def dump(entries: Iterable[Entry]) -> str:
    """Return the records as one JSON array of CSL items, indented by two."""
    return json.dumps([_item(entry) for entry in entries], ensure_ascii=False, indent=2) + "\n"


def _item(entry: Entry) -> dict[str, Any]:
    data, links = entry.data, entry.data["links"]
    kind, venue = TYPES[entry.kind]
    on_arxiv = entry.kind == "preprint" and "arxiv" in links
    item: dict[str, Any] = {
        "id": entry.id,
        "type": kind,
        "title": entry.title,
        "author": [_name(name) for name in data["authors"]],
        "issued": {"date-parts": [[entry.year]]},
        venue: "arXiv" if on_arxiv else entry.venue_name,
    }
    if on_arxiv:
        item["number"] = f"arXiv:{links['arxiv']}"
    if data["pages"]:
        item["page"] = data["pages"]
    if "doi" in links:
        item["DOI"] = links["doi"]
    others = [url for label, url in addresses(links).items() if label != "DOI"]
    if others:
        item["URL"] = others[0]
    custom = {key: links[key] for key in ("arxiv", "openreview") if key in links}
    if custom:  # CSL has no variables for these
        item["custom"] = custom
    item["keyword"] = ", ".join((*entry.tags, *data["topics"]))
    return item


def _name(name: str) -> dict[str, str]:
    parts = names.split(name)
    if parts.whole:
        return {"literal": parts.family}
    found = {
        "family": parts.family,
        "given": parts.given,
        "non-dropping-particle": parts.particle,
        "suffix": parts.suffix,
    }
    return {key: value for key, value in found.items() if value}
