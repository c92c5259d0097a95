"""What a user names a work by: an arXiv id, a DOI, an OpenReview id, an address of one of these, a BibTeX file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qkb.errors import UsageError
from qkb.imports import bibtex, identifiers, sources
from qkb.imports.work import Work
from qkb.records.faults import Fault, FaultsError
from qkb.records.text import shorten

if TYPE_CHECKING:
    from qkb.imports.work import Reading

OPENREVIEW = re.compile(r"openreview:\s*([A-Za-z0-9_-]{6,20})", re.IGNORECASE)
OLD_ARXIV = re.compile(
    r"(?:arxiv:|https?://arxiv\.org/(?:abs|pdf)/)?[a-z-]+(?:\.[A-Z]{2})?/\d{7}(?:v\d+)?", re.IGNORECASE
)
HOW = "write an arXiv id (1603.05279), a DOI (10.1000/x), openreview:ID, or an address of one of these"


def identifier(text: str) -> Work:
    """Return the work that an identifier names, with nothing but the identifier.

    >>> identifier("arXiv:1603.05279v4").arxiv, identifier("https://doi.org/10.1000/X.y").doi
    ('1603.05279', '10.1000/X.y')
    >>> identifier("openreview:BkgXT24tDS").openreview
    'BkgXT24tDS'

    Raises:
        UsageError: it names none.
    """
    asked = text.strip()
    bare = identifiers.ARXIV.fullmatch(re.sub(r"^arxiv:\s*", "", asked, flags=re.IGNORECASE))
    arxiv = bare[1] if bare else identifiers.arxiv(asked)
    if arxiv:
        return Work(arxiv=arxiv)
    named = OPENREVIEW.fullmatch(asked)
    openreview = named[1] if named else identifiers.openreview(asked)
    if openreview:
        return Work(openreview=openreview)
    plain = re.sub(r"^doi:\s*", "", asked, flags=re.IGNORECASE)
    doi = identifiers.plain_doi(plain) if identifiers.DOI.fullmatch(plain) else identifiers.doi(asked)
    if doi:
        return Work(doi=doi)
    if OLD_ARXIV.fullmatch(asked):
        raise UsageError(f"{asked}: records hold no arXiv ids from before 2007-04; name the work by its DOI or --title")
    if "://" in asked:
        raise UsageError(f"there is no identifier in {shorten(asked, 100)}; {HOW}, or give --title and --url")
    raise UsageError(f"{shorten(asked, 100)!r} is neither an identifier nor the id of a record; {HOW}")


def entry(file: str) -> Work:
    """Return the work of a BibTeX file, or of standard input where that is `-`, with one entry.

    Raises:
        UsageError: there is no entry, or more than one.
        FaultsError: the entry cannot be understood.
        OSError: the file cannot be read.
    """
    reading: Reading = sources.read_file(file, "bibtex")
    broken = [Fault(file, row.line, "", row.problem) for row in reading.rows if row.work is None]
    if broken:
        raise FaultsError(broken)
    works = [row.work for row in reading.rows if row.work is not None]
    if not works:
        raise UsageError(f"--bibtex {file}: there is no entry in it")
    if len(works) > 1:
        raise UsageError(f"--bibtex {file}: there are {len(works)} entries; keep one, or take in all with qkb import")
    return works[0]


def author(name: str) -> str:
    """Return a name given name first: `Lind, Ada` is `Ada Lind`."""
    return bibtex.by_commas_outside(name).strip()
