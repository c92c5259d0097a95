"""A work as a registry describes it."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

TAG = re.compile(r"</?(?:[a-z]+:)?[a-z][a-z0-9]*(?:\s[^<>]{0,300})?/?>", re.IGNORECASE)


@dataclass(frozen=True)
class Work:
    """A work as a registry describes it; what it does not say is empty.

    Args:
        source: the registry's name.
        title: the title, in plain text.
        authors: full names, in their order.
        years: every year that the registry gives, the most telling first.
        subtitle: what follows the title, where the registry keeps it apart.
        venue: journal, proceedings or publisher.
        doi: the DOI of the published work.
        kind: what the registry calls it.
        pages: first and last page, as printed.
        arxiv: arXiv identifier of a preprint, without version.
        url: another address of the work.
        notice: what the registry says that somebody has to look at.
    """

    source: str
    title: str
    authors: tuple[str, ...] = ()
    years: tuple[int, ...] = ()
    subtitle: str = ""
    venue: str = ""
    doi: str = ""
    kind: str = ""
    pages: str = ""
    arxiv: str = ""
    url: str = ""
    notice: str = ""


def plain(text: object) -> str:
    """Return text of a registry without markup, entities and surplus spaces; nothing for what is no text.

    >>> plain("Deep  <i>Q</i>-learning &amp; more"), plain(None)
    ('Deep Q-learning & more', '')
    """
    return " ".join(html.unescape(TAG.sub("", text)).split()) if isinstance(text, str) else ""


def years(*given: object) -> tuple[int, ...]:
    """Return what is a year, each once.

    >>> years(2016, "2017", None, 2016, "soon")
    (2016, 2017)
    """
    found = [int(str(each)) for each in given if re.fullmatch(r"(?:1[89]|20)\d\d", str(each))]
    return tuple(dict.fromkeys(found))
