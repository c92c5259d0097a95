"""Asks Crossref what is behind a DOI, and DataCite for those that Crossref does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from qkb.metadata.work import Work, plain, years

if TYPE_CHECKING:
    from qkb.metadata.http import Client

# arXiv and Zenodo register with DataCite.
OF_DATACITE = ("10.48550/", "10.5281/")


def ask(doi: str, client: Client) -> Work | None:
    """Return the work behind a DOI; None where neither registry knows it.

    Raises:
        NoAnswerError: a registry that may know it cannot be asked.
    """
    order = (_ask_datacite, _ask_crossref) if doi.startswith(OF_DATACITE) else (_ask_crossref, _ask_datacite)
    for registry in order:
        found = registry(doi, client)
        if found is not None:
            return found
    return None


def _ask_crossref(doi: str, client: Client) -> Work | None:
    answer = client.json(client.bases.crossref + quote(doi, safe=""))
    return None if answer is None else read(answer)


def _ask_datacite(doi: str, client: Client) -> Work | None:
    answer = client.json(client.bases.datacite + quote(doi, safe=""))
    return None if answer is None else read_datacite(answer)


def read(answer: dict[str, Any]) -> Work:
    """Return the work of an answer of Crossref."""
    message = _dict(answer.get("message"))
    dates = (_first(_first(_dict(message.get(key)).get("date-parts"))) for key in
             ("published-print", "published-online", "issued", "published"))  # fmt: skip
    return Work(
        source="Crossref",
        title=plain(_first(message.get("title"))),
        subtitle=plain(_first(message.get("subtitle"))),
        authors=tuple(filter(None, (_name(_dict(author)) for author in _list(message.get("author"))))),
        years=years(*dates),
        venue=plain((_list(message.get("container-title")) or [None])[-1]),  # a series stands before the volume
        doi=plain(message.get("DOI")),
        kind=plain(message.get("type")),
        pages=plain(message.get("page")),
    )


def read_datacite(answer: dict[str, Any]) -> Work:
    """Return the work of an answer of DataCite."""
    attributes = _dict(_dict(answer.get("data")).get("attributes"))
    titles = [_dict(title) for title in _list(attributes.get("titles"))]
    dates = [_dict(date) for date in _list(attributes.get("dates"))]
    of_dates = (plain(date.get("date"))[:4] for date in dates if date.get("dateType") in {"Issued", "Submitted"})
    return Work(
        source="DataCite",
        title=next((plain(title.get("title")) for title in titles if not title.get("titleType")), ""),
        subtitle=next((plain(title.get("title")) for title in titles if title.get("titleType") == "Subtitle"), ""),
        authors=tuple(filter(None, (_creator(_dict(each)) for each in _list(attributes.get("creators"))))),
        years=years(attributes.get("publicationYear"), *of_dates),
        venue=plain(attributes.get("publisher")),
        doi=plain(attributes.get("doi")),
        kind=plain(_dict(attributes.get("types")).get("resourceTypeGeneral")),
    )


def _name(author: dict[str, Any]) -> str:
    parts = [plain(author.get(key)) for key in ("given", "family", "suffix")]
    return " ".join(filter(None, parts)) or plain(author.get("name"))


def _creator(creator: dict[str, Any]) -> str:
    parts = [plain(creator.get(key)) for key in ("givenName", "familyName")]
    if all(parts):
        return " ".join(parts)
    family, comma, given = plain(creator.get("name")).partition(", ")
    return f"{given} {family}" if comma and creator.get("nameType") != "Organizational" else family + comma + given


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _first(value: object) -> Any:
    return value[0] if isinstance(value, list) and value else None
