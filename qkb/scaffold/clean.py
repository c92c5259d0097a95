"""Keeps what strangers wrote out of files: markup, characters that nobody sees, links that are none.

Whatever a registry, a BibTeX file or a command line says comes through here before it is written. What is left after
taking out markup and still would do more on a page than be read is refused, and said.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from qkb.imports import identifiers
from qkb.imports.work import Work
from qkb.metadata.work import plain
from qkb.records.text import UNSEEN, shorten, unsafe

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 500
MOST_AUTHORS = 3000
# Elements whose text is no text.
HIDDEN = re.compile(r"<(script|style|iframe|object|svg|template)\b.*?(?:</\1\s*>|$)", re.IGNORECASE | re.DOTALL)
OPENREVIEW = re.compile(r"[A-Za-z0-9_-]{6,20}")
ADDRESSES = ("url", "pdf")


def line(text: str) -> str:
    """Return a text in one line, without markup, entities, and characters that cannot be seen; it may be empty.

    >>> line("A <b>Net</b> &lt;script&gt;alert(1)&lt;/script&gt; of Bits")
    'A Net of Bits'
    """
    text = text[: 20 * LONGEST]
    for _ in range(5):  # an entity may hide a tag, and a tag may hide another
        before, text = text, plain(HIDDEN.sub(" ", UNSEEN.sub(" ", text)))
        if text == before:
            break
    return text if len(text) <= LONGEST and not any(unsafe(text)) else ""


def work(given: Work) -> tuple[Work, list[str]]:
    """Return a work that can be written, and what was refused."""
    told: list[str] = []
    values = {each.name: getattr(given, each.name) for each in fields(given)}
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    cleaned = {name: line(text) for name, text in texts.items()}
    cleaned |= {name: identifiers.plain_address(text) if texts[name] == text else "" for name, text in cleaned.items()
                if name in ADDRESSES}  # fmt: skip
    told += [f"the {name} {shorten(text)!r} is refused" for name, text in texts.items() if text and not cleaned[name]]
    authors = [line(name) for name in given.authors[:MOST_AUTHORS]]
    if not all(authors) or len(authors) < len(given.authors):
        told.append("an author's name is refused, and with it the list")
        authors = []
    if cleaned["openreview"] and not OPENREVIEW.fullmatch(cleaned["openreview"]):
        cleaned["openreview"] = ""
        told.append("the OpenReview id is refused")
    cleaned |= _identifiers(cleaned)
    code = tuple(each for each in given.code if identifiers.plain_address(each[0]) == each[0])
    said: dict[str, Any] = {**cleaned, "authors": tuple(authors), "code": code, "tags": ()}
    return replace(given, **said), told


def _identifiers(texts: dict[str, str]) -> dict[str, str]:
    """Return arXiv id and DOI as far as they are that."""
    arxiv, doi = texts["arxiv"], texts["doi"]
    return {
        "arxiv": arxiv if re.fullmatch(r"\d{4}\.\d{4,5}", arxiv) else "",
        "doi": doi if identifiers.DOI.fullmatch(doi) else "",
    }


def docstring(text: str) -> str:
    """Return a text without what could end a raw docstring of Python: quotes, backslashes, line ends."""
    kept = "".join(_docstring(text))
    return " ".join(kept.split())


def _docstring(text: str) -> Iterator[str]:
    for char in text:
        yield {"\\": "/", '"': "'"}.get(char, char if char.isprintable() else " ")
