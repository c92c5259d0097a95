"""Asks Semantic Scholar, which knows which preprint and which publication are one work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from qkb.imports import identifiers
from qkb.metadata.work import Work, plain, years

if TYPE_CHECKING:
    from qkb.metadata.http import Client

FIELDS = "title,authors,year,venue,externalIds,publicationTypes"


def ask(name: str, client: Client) -> Work | None:
    """Return the work behind `ARXIV:...` or `DOI:...`; None where Semantic Scholar does not know it.

    Raises:
        NoAnswerError: Semantic Scholar cannot be asked.
    """
    answer = client.json(client.bases.semantic_scholar + quote(name, safe=":"), {"fields": FIELDS})
    return None if answer is None else read(answer)


def read(answer: dict[str, Any]) -> Work:
    """Return the work of an answer of Semantic Scholar."""
    listed = answer.get("authors")
    people = listed if isinstance(listed, list) else []
    names = (person.get("name") for person in people if isinstance(person, dict))
    known = answer.get("externalIds")
    ids = known if isinstance(known, dict) else {}
    preprint = identifiers.ARXIV.fullmatch(plain(ids.get("ArXiv")))
    types = answer.get("publicationTypes")
    kinds = [each for each in (types if isinstance(types, list) else ()) if isinstance(each, str)]
    return Work(
        source="Semantic Scholar",
        title=plain(answer.get("title")),
        authors=tuple(filter(None, map(plain, names))),
        years=years(answer.get("year")),
        venue=plain(answer.get("venue")),
        doi=identifiers.plain_doi(plain(ids.get("DOI"))),
        kind=kinds[0] if len(kinds) == 1 else "",
        arxiv=preprint[1] if preprint else "",
    )
