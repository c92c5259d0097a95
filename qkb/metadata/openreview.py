"""Asks OpenReview what is behind an id; older conferences are known only to its first API."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from qkb.metadata.http import NoAnswerError
from qkb.metadata.work import Work, plain, years

if TYPE_CHECKING:
    from qkb.metadata.http import Client

UNDECIDED = re.compile(r"\b(?:submitted|submission|withdrawn|reject(?:ed)?|under review)\b", re.IGNORECASE)
# What stands beside the name of the venue: the year and how the work was presented.
FORM = re.compile(r"\b(?:(?:19|20)\d\d|poster|oral|spotlight|talk)\b|\bnotable.*", re.IGNORECASE)


def ask(name: str, client: Client) -> Work | None:
    """Return the work behind an OpenReview id; None where no API of OpenReview knows it.

    Raises:
        NoAnswerError: OpenReview cannot be asked.
    """
    trouble: NoAnswerError | None = None
    for base in client.bases.openreview:
        try:
            answer = client.json(base, {"id": name})
        except NoAnswerError as error:  # the other API may know it
            trouble = error
            continue
        found = None if answer is None else read(answer, name)
        if found is not None:
            return found
    if trouble is not None:
        raise trouble
    return None


def read(answer: dict[str, Any], name: str) -> Work | None:
    """Return the work of an answer of either API; None where the note is not among its notes."""
    notes = answer.get("notes")
    for note in notes if isinstance(notes, list) else ():
        content = note.get("content") if isinstance(note, dict) else None
        if isinstance(content, dict) and note.get("id") == name:
            names = _value(content, "authors")
            authors = names if isinstance(names, list) else []
            venue, notice = decision(plain(_value(content, "venue")))
            return Work(
                source="OpenReview",
                title=plain(_value(content, "title")),
                authors=tuple(filter(None, map(plain, authors))),
                years=years(*(_year(note.get(key)) for key in ("pdate", "odate", "cdate", "tcdate"))),
                venue=venue,
                notice=notice,
            )
    return None


def decision(printed: str) -> tuple[str, str]:
    """Return the venue that accepted a work, and what OpenReview says where none did.

    >>> decision("ICLR 2020 Poster"), decision("Submitted to ICLR 2020")
    (('ICLR', ''), ('', "the paper is marked 'Submitted to ICLR 2020'"))
    """
    if UNDECIDED.search(printed):
        return "", f"the paper is marked {printed!r}"
    return " ".join(FORM.sub(" ", printed).split()), ""


def _value(content: dict[str, Any], key: str) -> object:
    """Return a value; the second API wraps each in a mapping."""
    found = content.get(key)
    return found.get("value") if isinstance(found, dict) else found


def _year(milliseconds: object) -> int | None:
    if not isinstance(milliseconds, int | float) or not 0 < milliseconds < 4e12:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).year
