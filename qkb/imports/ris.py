"""Reads RIS: references of lines `TAG  - value`, each between TY and ER."""

from __future__ import annotations

import re

from qkb.imports import identifiers
from qkb.imports.people import by_commas
from qkb.imports.work import Reading, Work

KINDS = {
    "CONF": "conference", "CPAPER": "conference", "JOUR": "journal", "JFULL": "journal", "MGZN": "journal",
    "UNPB": "preprint", "PREPRINT": "preprint", "THES": "thesis", "RPRT": "report", "BLOG": "blog", "COMP": "software",
    "BOOK": "book", "CHAP": "book",
}  # fmt: skip
LINE = re.compile(r"([A-Z][A-Z0-9])(?:  ?- ?|  -$)(.*)$")
VENUES = ("T2", "JO", "JF", "JA", "BT", "J2", "T3", "PB")
YEAR = re.compile(r"(?<!\d)(19[4-9]\d|20\d\d)(?!\d)")


def read(text: str) -> Reading:
    """Return the works of a RIS file."""
    reading = Reading()
    fields: dict[str, list[str]] = {}
    begin, last = 0, ""
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip("\r").strip("\ufeff")
        found = LINE.match(line)
        tag, value = (found[1], found[2].strip()) if found else ("", line.strip())
        if not tag and last and value:  # a value may go on
            fields[last][-1] += f" {value}"
        elif not tag and value:
            reading.skip(number, value, "text outside of a reference")
        elif tag in {"TY", "ER"}:
            _add(reading, fields, begin)
            fields, begin, last = ({"TY": [value]}, number, tag) if tag == "TY" else ({}, 0, "")
        elif tag:
            if not fields:
                reading.fail(number, line, "this reference does not begin with TY")
            fields.setdefault(tag, []).append(value)
            last = tag
    _add(reading, fields, begin)
    return reading


def _add(reading: Reading, fields: dict[str, list[str]], line: int) -> None:
    if "TY" not in fields:
        return
    work = _work(fields)
    if work.title:
        reading.add(line, work.title, work)
    else:
        reading.fail(line, f"TY  - {fields['TY'][0]}", "this reference has no title (TI)")


def _work(fields: dict[str, list[str]]) -> Work:
    def first(*tags: str) -> str:
        return next((" ".join(value.split()) for tag in tags for value in fields.get(tag, ()) if value.strip()), "")

    addresses = [
        address for tag in ("UR", "L1", "L2", "LK", "N1", "M3") for value in fields.get(tag, ())
        if (address := identifiers.plain_address(value))
    ]  # fmt: skip
    found = identifiers.of_addresses(addresses)
    doi = identifiers.plain_doi(first("DO"))
    arxiv = next(
        filter(None, (identifiers.arxiv(first(tag)) for tag in ("M1", "VL", "N1", "T2", "JO", "C1", "DO"))), ""
    )
    if doi:
        found["doi"] = doi
    if arxiv:
        found.setdefault("arxiv", arxiv)
    copies = [address for value in fields.get("L1", ()) if (address := identifiers.plain_address(value))]
    if copies:
        found.setdefault("pdf", copies[0])
        if found.get("url") == copies[0]:
            del found["url"]
    start, end = first("SP"), first("EP")
    pages = re.sub(r"\s*[-–—]+\s*", "-", f"{start}-{end}" if end and "-" not in start and end != start else start)
    year = YEAR.search(first("PY", "Y1", "DA"))
    return Work(
        title=first("TI", "T1", "CT"),
        authors=tuple(filter(None, (by_commas(name) for tag in ("AU", "A1") for name in fields.get(tag, ())))),
        year=int(year[1]) if year else None,
        venue=first(*VENUES),
        kind=KINDS.get(first("TY"), ""),
        pages=pages if re.fullmatch(r"\w+(-\w+)?", pages) else "",
        tags=tuple(fields.get("KW", ())),
        key=first("ID"),
        **found,
    )
