"""What stands around a title in a list or a citation: authors, venue, year, pages, identifiers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from qkb.imports import identifiers
from qkb.imports.people import in_prose
from qkb.imports.terms import FORMS, PUBLISHERS, VENUES

YEAR = re.compile(r"(?<![\d./])(19[4-9]\d|20\d\d)(?!\d|\.\d{4})")
SHORT_YEAR = re.compile(r"(?<=[A-Za-z])\s*['’`]\s*(\d\d)\b")
CLOSING_YEAR = re.compile(r"[\s,.(]+(?:19[4-9]|20\d)\d\)?[\s.,]*$")
PAGES = re.compile(r"(?::|\bpp?\.?|\bpages)\s*(\d+)\s*[-–]+\s*(\d+)\b")
VOLUME = re.compile(
    r"\b(?:vol(?:ume)?|no|number|issue|pp?|pages|ed)\b\.?\s*\d*|\s\d+(?:\.\d+)?(?:\s*\(\d+\))?\s*:?\s*$"
)
ISSUE = re.compile(r",?\s*\d+\s*(?:\(\d+\)\s*)?,\s*(\d+)\s*[-–]+\s*(\d+)\.?\s*$")
PARENTHESES = re.compile(r"\(([^()]*)\)")
DATE = re.compile(
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]*\.?\s*(?:\d{1,2}(?:st|nd|rd|th)?,?)?(?=\s*(?:$|[,.(]|19|20))",
    re.IGNORECASE,
)
PREPRINT = re.compile(
    r"\b(?:arxiv|corr)\b(?:\s+e-?prints?|\s+preprint)?(?:\s*,)?(?:[\s:]*(?:abs/)?[\d.]+(?:v\d+)?)?", re.IGNORECASE
)
LONG = re.compile(
    r"\b(?:conference|proceedings|proc\.|transactions|trans\.|journal|symposium|workshops?|magazine|letters|"
    r"advances in|arxiv|preprint|access|university|thesis|dissertation|technical report|lecture notes)\b",
    re.IGNORECASE,
)


@dataclass
class Around:
    """What was found around a title."""

    authors: tuple[str, ...] = ()
    more: bool = False
    year: int | None = None
    venue: str = ""
    pages: str = ""
    found: identifiers.Places = field(default_factory=identifiers.Places)


def year_in(text: str) -> int | None:
    """Return the last year that a text names, also as `'19` behind a word; none where it names none.

    >>> year_in("arXiv:1905.11946 (2019)"), year_in("CVPR'22"), year_in("ICLR2019"), year_in("150 pages")
    (2019, 2022, 2019, None)
    """
    years = YEAR.findall(text)
    if years:
        return int(years[-1])
    short = SHORT_YEAR.search(text)
    return 2000 + int(short[1]) if short else None


def without_year(text: str) -> str:
    """Return a text without years and what joins them to it.

    >>> without_year("2017-ICLR"), without_year("CVPR'22 (Oral)"), without_year("ICML 2018,")
    ('ICLR', 'CVPR (Oral)', 'ICML')
    """
    text = SHORT_YEAR.sub("", YEAR.sub("", DATE.sub("", text)))
    return " ".join(re.sub(r"\(\s*\)|\[\s*\]", "", text).split()).strip(" ,.;:-–—_/'`")


def tidy_venue(text: str) -> str:
    """Return the printed name of a venue without its year and without how the work was presented.

    >>> tidy_venue("ICLR 2020 (Spotlight)"), tidy_venue("Journal of Bits (JB)"), tidy_venue("ICLRo")
    ('ICLR', 'Journal of Bits (JB)', 'ICLR')
    """
    text = PARENTHESES.sub(lambda found: "" if found[1].casefold().strip() in FORMS else found[0], text)
    name = without_year(", ".join(part for part in text.split(", ") if part.casefold().strip() not in FORMS))
    first, _, rest = name.partition(",")
    first = first.strip()
    if first.casefold() in VENUES and not is_venue(rest.strip()):  # a town or a company behind a short name
        name = first
    marked = re.fullmatch(r"([A-Z]{3,})[osb]", name)  # o for oral, s for spotlight, b for best paper
    return marked[1] if marked and marked[1].casefold() in VENUES else name


def is_venue(text: str) -> bool:
    """Tell whether a text is the name of a venue, as far as that can be told.

    >>> is_venue("CVPR 2022"), is_venue("NeurIPS Workshop"), is_venue("Transactions on Bits"), is_venue("code")
    (True, True, True, False)
    """
    name = re.sub(r"\((?:[^()]*)\)", "", without_year(text)).strip()
    words = re.split(r"[\s/]+", name.casefold())
    if not name or len(words) > 14:
        return False
    if any(word.strip(",.-") in VENUES for word in words) and len(words) <= 4:
        return True
    if LONG.search(name):
        return len(words) > 1 or words[0] in {"arxiv", "preprint"}
    return bool(year_in(text)) and len(words) <= 2 and name[:1].isupper() and name != name.lower()


def around(text: str) -> Around:
    """Return what a text tells that stands behind a title.

    >>> about = around("IEEE Journal of Solid-State Circuits 54.1 (2018): 173-185.")
    >>> about.venue, about.year, about.pages
    ('IEEE Journal of Solid-State Circuits', 2018, '173-185')
    >>> around("Ada Lind, Bo Ruiz. ICLR 2019.").authors, around("Ada Lind, Bo Ruiz, 2019").authors
    (('Ada Lind', 'Bo Ruiz'), ('Ada Lind', 'Bo Ruiz'))
    """
    about = Around(year=year_in(text))
    arxiv, doi = identifiers.arxiv(text), identifiers.doi(text)
    if arxiv:
        about.found["arxiv"] = arxiv
    if doi:
        about.found["doi"] = doi
    pages = PAGES.search(text)
    if pages:
        about.pages = f"{pages[1]}-{pages[2]}"
        text = text[: pages.start()] + text[pages.end() :]
    if PREPRINT.search(text):
        about.venue = "arXiv"
        text = PREPRINT.sub("", text)
    text = identifiers.DOI_TEXT.sub("", text)
    text = PARENTHESES.sub(lambda match: _parenthesis(match[1]), text)
    for piece in re.split(r"(?<=[\w)][\w)])\.\s+|[;|]|\s[-–—]\s|\n", text):
        _piece(piece, about)
    return about


def _parenthesis(inside: str) -> str:
    """Return what of a parenthesis is kept: a name of a venue and its year, not remarks."""
    bare = inside.strip()
    if is_venue(bare):
        return f", {bare} ," if year_in(bare) else f"({bare})"
    short = re.fullmatch(r"[A-Z][A-Za-z+&-]{2,12}", bare) and sum(map(str.isupper, bare)) * 3 > 2 * len(bare)
    return f"({bare})" if short and bare.casefold() not in FORMS else " "


def _piece(piece: str, about: Around) -> None:
    """Take in one of the pieces between full stops."""
    names, more = in_prose(CLOSING_YEAR.sub("", piece))
    if not about.authors and (len(names) > 1 or (names and more)) and not is_venue(piece):
        about.authors, about.more = names, more
        piece = re.split(r"\bet\.?\s*al\b\.?|\bothers\b", piece, maxsplit=1)[-1] if more else ""
    issue = ISSUE.search(piece)
    if issue:
        about.pages = about.pages or f"{issue[1]}-{issue[2]}"
        piece = piece[: issue.start()]
    name = without_year(VOLUME.sub("", without_year(re.sub(r"^\W*[Ii]n:?\s+", "", piece))))
    parts = [part.strip() for part in name.split(",")]
    while len(parts) > 1 and (
        parts[-1].casefold() in PUBLISHERS or parts[-1].casefold() in FORMS or len(parts[-1]) < 2
    ):
        parts.pop()
    name = without_year(VOLUME.sub("", without_year(", ".join(part for part in parts if part))))
    if len(parts) > 1 and is_venue(parts[-1]) and not is_venue(parts[0]):
        before, some = in_prose(", ".join(parts[:-1]))
        if before and not about.authors:
            about.authors, about.more = before, some
            name = parts[-1]
    said = name.casefold()
    if not about.venue and name[:1].isupper() and len(name) > 1 and said not in PUBLISHERS | FORMS and len(name) < 200:
        about.venue = name
