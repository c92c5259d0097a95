r"""Finds arXiv ids, DOIs and OpenReview ids in addresses and in text, and tells apart what addresses lead to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict, cast
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

_ARXIV_ID = r"(\d{2}(?:0[1-9]|1[0-2])\.\d{4,5})(?:v\d+)?"
ARXIV_ADDRESS = re.compile(
    rf"(?:arxiv\.org|alphaxiv\.org|huggingface\.co/papers|ar5iv\.[a-z.]+)/(?:(?:abs|pdf|html|format|ftp|overview)/)*{_ARXIV_ID}(?!\d)",
    re.IGNORECASE,
)
ARXIV_TEXT = re.compile(rf"\b(?:arxiv|corr)\b[^\d]{{0,16}}{_ARXIV_ID}(?!\d)", re.IGNORECASE)
ARXIV_DOI = re.compile(rf"10\.48550/arxiv\.{_ARXIV_ID}(?!\d)", re.IGNORECASE)
ARXIV = re.compile(rf"{_ARXIV_ID}(?:\s*\[[\w.-]+\])?")
DOI_ADDRESS = re.compile(
    r"(?:(?:dx\.)?doi\.org|/doi(?:/(?:abs|full|pdf|epdf|pdfdirect|book))?)/(10\.\d{4,9}/[^\s?#\"<>]+)"
)
DOI_TEXT = re.compile(r"\bdoi:?\s*(10\.\d{4,9}/[^\s\"<>]+)", re.IGNORECASE)
DOI = re.compile(r"10\.\d{4,9}/[^\s\"<>]+")
OPENREVIEW = re.compile(
    r"openreview\.net/(?:forum|pdf|attachment|references/pdf)\?(?:[^\s#]*&)?id=([A-Za-z0-9_-]{6,20})(?![\w-])"
)
ADDRESS = re.compile(r"https?://[^\s<>\"'`\\{}|^]+")
HOSTS_OF_CODE = re.compile(
    r"https?://(?:www\.)?(?:github\.com|gitlab\.com|bitbucket\.org|gitee\.com|codeberg\.org|sourceforge\.net)/",
    re.IGNORECASE,
)
AFTER = ".,;:!?)]}'\"*_"


class Places(TypedDict, total=False):
    """What leads to a work: keys of `qkb.imports.work.Work`."""

    arxiv: str
    doi: str
    openreview: str
    url: str
    pdf: str


def arxiv(text: str) -> str:
    """Return the arXiv id of an address, or of a text that names it as one.

    >>> arxiv("https://arxiv.org/pdf/1603.05279v4.pdf"), arxiv("arXiv preprint arXiv:1602.02830 (2016)")
    ('1603.05279', '1602.02830')
    >>> arxiv("pages 1602.02830")
    ''
    """
    found = ARXIV_ADDRESS.search(text) or ARXIV_DOI.search(text) or ARXIV_TEXT.search(text)
    return found[1] if found else ""


def doi(text: str) -> str:
    """Return the DOI of an address, or of a text that names it as one; not one that only stands for an arXiv id.

    >>> doi("https://dl.acm.org/doi/abs/10.1145/3490422.3502364?x=1"), doi("doi: 10.1000/a.b.")
    ('10.1145/3490422.3502364', '10.1000/a.b')
    """
    found = DOI_ADDRESS.search(text) or DOI_TEXT.search(text)
    return plain_doi(found[1].rstrip(AFTER)) if found else ""


def plain_doi(text: str) -> str:
    """Return a DOI without what may stand before it; nothing where it is none, or an arXiv id's.

    >>> plain_doi("https://doi.org/10.1000/x"), plain_doi("DOI 10.1000/x"), plain_doi("10.48550/arXiv.1603.05279")
    ('10.1000/x', '10.1000/x', '')
    """
    found = DOI.search(text)
    if not found or ARXIV_DOI.match(found[0]):
        return ""
    # What cannot stand between the braces of BibTeX is written otherwise there.
    return re.sub("%7B|%7D|%5C", lambda match: unquote(match[0]), found[0], flags=re.IGNORECASE)


def openreview(text: str) -> str:
    """Return the OpenReview forum id of an address.

    >>> openreview("https://openreview.net/pdf?id=HyQJ-mclg")
    'HyQJ-mclg'
    """
    found = OPENREVIEW.search(text)
    return found[1] if found else ""


def is_code(url: str) -> bool:
    """Tell whether an address leads to a repository of code."""
    return HOSTS_OF_CODE.match(url) is not None


def plain_address(text: str) -> str:
    r"""Return the address in a text, as a record may say it; nothing where there is none.

    >>> plain_address(r"\url{https://a.example/x_(1)}."), plain_address("javascript:x")
    ('https://a.example/x_(1)', '')
    """
    found = ADDRESS.search(text.replace("\\_", "_").replace("\\%", "%").replace("\\&", "&").replace("\\#", "#"))
    if not found:
        return ""
    url = found[0].rstrip(".,;:!?]*_") if found[0] != text else text
    while url.endswith(")") and url.count("(") < url.count(")"):
        url = url[:-1].rstrip(".,;:!?]*_")
    return url if len(url) <= 1000 else ""


def of_addresses(urls: Iterable[str]) -> Places:
    """Return the identifiers and addresses of a work by their keys; of each the first.

    >>> of_addresses(["https://arxiv.org/abs/1603.05279", "https://a.example/b.pdf"])
    {'arxiv': '1603.05279', 'pdf': 'https://a.example/b.pdf'}
    """
    found: dict[str, str] = {}
    for url in urls:
        known = False
        for key, find in (("arxiv", arxiv), ("doi", doi), ("openreview", openreview)):
            value = find(url)
            known = known or bool(value)
            if value:
                found.setdefault(key, value)
        address = "" if known or ARXIV_DOI.search(url) else plain_address(url)
        if address:
            found.setdefault("pdf" if address.lower().partition("?")[0].endswith(".pdf") else "url", address)
    return cast("Places", found)
