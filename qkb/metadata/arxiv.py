"""Asks the arXiv API, for many preprints at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from qkb.metadata.http import NoAnswerError
from qkb.metadata.work import Work, plain, years

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qkb.metadata.http import Client

AT_ONCE = 50
ATOM = "{http://www.w3.org/2005/Atom}"
ARXIV = "{http://arxiv.org/schemas/atom}"
IDENTIFIER = re.compile(r"arxiv\.org/abs/(.+?)(?:v\d+)?$")


def ask(ids: Sequence[str], client: Client) -> dict[str, Work]:
    """Return the works behind arXiv identifiers; those that arXiv does not know are left out.

    Raises:
        NoAnswerError: arXiv cannot be asked.
    """
    found: dict[str, Work] = {}
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        answer = client.get(client.bases.arxiv, {"id_list": ",".join(some), "max_results": str(len(some))})
        if answer is None:
            raise NoAnswerError("arXiv does not know its own API any more")
        found |= read(answer)
    return {name: found[name] for name in ids if name in found}


def read(answer: bytes) -> dict[str, Work]:
    """Return the works of an Atom feed by their identifiers without version.

    Raises:
        NoAnswerError: this is no such feed.
    """
    try:
        if b"<!DOCTYPE" in answer or b"<!ENTITY" in answer:
            raise NoAnswerError("arXiv gives no sensible answer")
        feed = ET.fromstring(answer)  # noqa: S314 (see above)
    except (ET.ParseError, ValueError, LookupError):
        raise NoAnswerError("arXiv gives no sensible answer") from None
    if feed.tag != f"{ATOM}feed":
        raise NoAnswerError("arXiv gives no sensible answer")
    found = {}
    for entry in feed.iter(f"{ATOM}entry"):
        name = IDENTIFIER.search(entry.findtext(f"{ATOM}id", "").strip())
        if name is not None:
            found[name[1]] = _work(entry)
    return found


def _work(entry: ET.Element) -> Work:
    dates = (entry.findtext(f"{ATOM}{key}", "")[:4] for key in ("published", "updated"))
    return Work(
        source="arXiv",
        title=plain(entry.findtext(f"{ATOM}title")),
        authors=tuple(plain(name.text) for name in entry.iterfind(f"{ATOM}author/{ATOM}name")),
        years=years(*dates),
        venue=plain(entry.findtext(f"{ARXIV}journal_ref")),
        doi=plain(entry.findtext(f"{ARXIV}doi")),
        kind="preprint",
    )
