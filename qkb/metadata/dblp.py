"""Asks DBLP for the publications of a title: it knows where a preprint was printed, with or without a DOI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qkb.imports import identifiers
from qkb.imports.titles import likeness
from qkb.metadata.work import Work, plain, years

if TYPE_CHECKING:
    from qkb.metadata.http import Client

AT_MOST = "10"
NUMBER = re.compile(r"\s+\d{4}$")  # DBLP tells people of one name apart: "Bo Ruiz 0002"
VOLUME = re.compile(r"\s*\(\d+\)$")
WORD = re.compile(r"[^\W_]+")


def ask(title: str, client: Client) -> list[Work]:
    """Return the publications that have this title, but for spelling.

    Raises:
        NoAnswerError: DBLP cannot be asked.
    """
    query = " ".join(WORD.findall(title))
    answer = client.json(client.bases.dblp, {"q": query, "format": "json", "h": AT_MOST}) if query else None
    found = [] if answer is None else read(answer)
    return [work for work in found if likeness(work.title, title) in {"same", "spelled"}]


def read(answer: dict[str, Any]) -> list[Work]:
    """Return the works of an answer of DBLP, in its order."""
    hits = _dict(_dict(answer.get("result")).get("hits")).get("hit")
    found = (_work(_dict(_dict(hit).get("info"))) for hit in (hits if isinstance(hits, list) else ()))
    return [work for work in found if work.title]


def _work(info: dict[str, Any]) -> Work:
    authors = _dict(info.get("authors")).get("author")
    names = (plain(_dict(each).get("text")) for each in (authors if isinstance(authors, list) else [authors]))
    venue = info.get("venue")
    places = info.get("ee")
    printed = [each for each in (places if isinstance(places, list) else [places]) if isinstance(each, str)]
    links = identifiers.of_addresses(filter(None, map(identifiers.plain_address, printed)))
    return Work(
        source="DBLP",
        title=plain(info.get("title")).removesuffix("."),
        authors=tuple(NUMBER.sub("", name) for name in names if name),
        years=years(info.get("year")),
        venue=VOLUME.sub("", plain(venue[-1] if isinstance(venue, list) and venue else venue)),
        doi=identifiers.plain_doi(plain(info.get("doi"))) or links.get("doi", ""),
        kind=plain(info.get("type")),
        pages=plain(info.get("pages")),
        arxiv=links.get("arxiv", ""),
        url=links.get("url", ""),
    )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
