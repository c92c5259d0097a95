"""Reads CSL-JSON: an array of items, one item, or an object with `items`."""

from __future__ import annotations

import json
import re
from typing import Any

from qkb.imports import identifiers
from qkb.imports.people import by_commas, turned
from qkb.imports.work import Reading, Work

KINDS = {
    "paper-conference": "conference", "article-journal": "journal", "article-magazine": "journal",
    "article": "preprint", "thesis": "thesis", "report": "report", "post-weblog": "blog", "post": "blog",
    "webpage": "blog", "software": "software", "book": "book", "chapter": "book",
}  # fmt: skip
VENUES = ("container-title", "event-title", "event", "publisher", "collection-title", "genre")
SPACE = re.compile(r"[\s,]*")
YEAR = re.compile(r"(?<!\d)(19[4-9]\d|20\d\d)(?!\d)")
TAGS = re.compile(r"</?(?:i|b|sc|sup|sub|span)\b[^>]*>")
BRACES = re.compile(r"\s*\{\s*\"items\"\s*:\s*")


def read(text: str) -> Reading:
    """Return the works of a CSL-JSON file."""
    reading = Reading()
    decoder = json.JSONDecoder()
    inside = BRACES.match(text)
    place = SPACE.match(text, inside.end() if inside else 0).end()  # type: ignore[union-attr]
    many = text[place : place + 1] == "["
    place = SPACE.match(text, place + many).end()  # type: ignore[union-attr]
    while place < len(text) and text[place] != "]":
        line = text.count("\n", 0, place) + 1
        start = text[place : place + 80].partition("\n")[0]
        try:
            item, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            problem = f"from here on this is no JSON: {getattr(error, 'msg', None) or 'nested too deeply'}"
            reading.fail(line + getattr(error, "lineno", line) - line, start, problem)
            return reading
        _add(reading, item, line, start)
        place = SPACE.match(text, place).end()  # type: ignore[union-attr]
        if not many:
            break
    if not reading.rows and not many:
        reading.fail(1, text[:80].partition("\n")[0], "this is no CSL-JSON: write an array of items")
    return reading


def _add(reading: Reading, item: Any, line: int, start: str) -> None:
    if not isinstance(item, dict):
        reading.fail(line, start, "this is no item: an item is an object")
        return
    work = _work(item)
    if work.title:
        reading.add(line, work.key or start, work)
    else:
        reading.fail(line, start, "this item has no title")


def _work(item: dict[str, Any]) -> Work:
    given = item.get("custom")
    custom: dict[str, Any] = given if isinstance(given, dict) else {}
    texts = [_text(item.get(key)) for key in ("URL", "number", "note", "archive_location", "archive", "publisher")]
    found = identifiers.of_addresses(filter(None, map(identifiers.plain_address, texts)))
    arxiv = next(filter(None, map(identifiers.arxiv, [*texts, _text(item.get("DOI"))])), "")
    if _text(custom.get("arxiv")):
        arxiv = _text(custom["arxiv"])
    doi = identifiers.plain_doi(_text(item.get("DOI")))
    openreview = _text(custom.get("openreview"))
    if arxiv:
        found["arxiv"] = arxiv
    if doi:
        found["doi"] = doi
    if openreview:
        found["openreview"] = openreview
    names = item.get("author")
    venue = next(filter(None, (_text(item.get(key)) for key in VENUES)), "")
    pages = re.sub(r"\s*[-–—]+\s*", "-", _text(item.get("page")), count=1)
    return Work(
        title=_text(item.get("title")),
        authors=tuple(filter(None, map(_name, names if isinstance(names, list) else []))),
        year=_year(item.get("issued")),
        venue=venue,
        kind=KINDS.get(_text(item.get("type")), ""),
        pages=pages if re.fullmatch(r"\w+(-\w+)?", pages) else "",
        tags=tuple(filter(None, re.split(r"\s*[,;]\s*", _text(item.get("keyword"))))),
        key=_text(item.get("id")),
        **found,
    )


def _text(value: Any) -> str:
    """Return a value as one line of text, without the few HTML tags that CSL allows."""
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return " ".join(TAGS.sub("", str(value)).split())


def _name(name: Any) -> str:
    if isinstance(name, str):
        return by_commas(name)
    if not isinstance(name, dict):
        return ""
    if _text(name.get("literal")):
        return _text(name["literal"])
    particles = (_text(name.get(key)) for key in ("dropping-particle", "non-dropping-particle"))
    family = " ".join(filter(None, (*particles, _text(name.get("family")))))
    return turned(family, _text(name.get("given")), _text(name.get("suffix")))


def _year(issued: Any) -> int | None:
    if isinstance(issued, dict):
        parts = issued.get("date-parts")
        issued = parts or [issued.get(key) for key in ("raw", "literal") if issued.get(key)]
    found = YEAR.search(json.dumps(issued)) if issued else None
    return int(found[1]) if found else None
