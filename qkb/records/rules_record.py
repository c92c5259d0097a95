"""Rules that one record can break on its own. Each yields (dotted path, what is wrong and what to do)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qkb.records.text import shorten
from qkb.text import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qkb.records.model import Record

SENTENCES = (3, 8)
LATEX = re.compile(r"\\\S|[{}]|\$|``|''")
SEVERAL_AUTHORS = re.compile(r"\band\b|&|;|,|\bet al\b", re.IGNORECASE)
# Where notes are not prose: code and formulas, which may hold full stops.
SPANS = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$", re.DOTALL)
BLOCKS = re.compile(r"\n[ \t]*\n|\n(?=[ \t]*(?:[-*+]|\d+[.)])[ \t])")
MARKER = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+")
END = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s|$)")
# Words whose full stop ends no sentence; initials are others.
ABBREVIATIONS = frozenset(
    ["e.g", "E.g", "i.e", "I.e", "w.r.t", "cf", "Cf", "vs", "al", "approx", "resp", "ca", "p", "pp", "No", "Nos",
     "Sec", "Secs", "sec", "Eq", "Eqs", "eq", "Fig", "Figs", "fig", "Tab", "App", "Ref", "Refs", "Alg", "Thm"]
)  # fmt: skip


def has_a_link(record: Record) -> Iterator[tuple[str, str]]:
    """A record links to its work."""
    if not any(value for _, value in record.links):
        yield "links", "there is no link: give at least one of arxiv, doi, openreview, url, pdf"


def bits_ascend(record: Record) -> Iterator[tuple[str, str]]:
    """A range of bit-widths goes from the smaller to the larger number."""
    for name, value in () if record.bits is None else record.bits:
        if isinstance(value, str) and ".." in value:
            low, high = map(int, value.split(".."))
            if low == high:
                yield f"bits.{name}", f"`{value}` is no range: write {low}"
            elif low > high:
                yield f"bits.{name}", f"`{value}` goes down: write {high}..{low}"


def pages_ascend(record: Record) -> Iterator[tuple[str, str]]:
    """The last page is not before the first."""
    first, _, last = (record.pages or "").partition("-")
    if first.isdecimal() and last.isdecimal() and int(last) < int(first):
        yield "pages", f"`{record.pages}` goes down: write both pages in full, as in 525-542"


def nothing_twice(record: Record) -> Iterator[tuple[str, str]]:
    """No list holds an entry twice."""
    lists: tuple[tuple[str, list[str] | tuple[str, ...]], ...] = (
        ("authors[{}]", [fold(name) for name in record.authors]),
        ("tags[{}]", record.tags),
        ("topics[{}]", record.topics),
        ("code[{}].url", [_same_address(code.url) for code in record.code]),
        ("aliases[{}]", [fold(alias) for alias in record.aliases]),
        ("builds_on[{}]", record.builds_on),
        ("claims[{}].id", [claim.id for claim in record.claims]),
        ("listed_in[{}]", record.listed_in),
    )
    for path, entries in lists:
        if len(set(entries)) < len(entries):
            for index, entry in enumerate(entries):
                first = entries.index(entry)
                if first < index:
                    yield path.format(index), f"this is the same as {path.format(first)}: keep one"


def alias_is_another_name(record: Record) -> Iterator[tuple[str, str]]:
    """An alias says something that the title does not."""
    for index, alias in enumerate(record.aliases):
        if fold(alias) == fold(record.title):
            yield f"aliases[{index}]", "this is the title: remove the alias"


def authors_stand_alone(record: Record) -> Iterator[tuple[str, str]]:
    """Each entry of the authors is one person, given name first."""
    for index, name in enumerate(record.authors):
        found = SEVERAL_AUTHORS.search(name)
        if found:
            message = f"`{shorten(name)}` contains `{found[0]}`: one author each, all of them, given name first"
            yield f"authors[{index}]", message


def names_are_plain(record: Record) -> Iterator[tuple[str, str]]:
    """Title, aliases and authors carry no debris of LaTeX or BibTeX."""
    for path, texts in (("title", (record.title,)), ("aliases[{}]", record.aliases), ("authors[{}]", record.authors)):
        for index, text in enumerate(texts):
            found = LATEX.search(text)
            if found:
                yield path.format(index), f"`{found[0]}` looks like LaTeX: write the character itself, and no braces"


def builds_on_others(record: Record) -> Iterator[tuple[str, str]]:
    """A work does not build on itself."""
    for index, other in enumerate(record.builds_on):
        if other == record.id:
            yield f"builds_on[{index}]", "this is the record itself: remove it"


def arxiv_fits_year(record: Record) -> Iterator[tuple[str, str]]:
    """The arXiv identifier can exist, and is not much younger than the work."""
    arxiv = record.links.arxiv
    if arxiv is None:
        return
    year, month, digits = 2000 + int(arxiv[:2]), int(arxiv[2:4]), len(arxiv) - 5
    if not 1 <= month <= 12:
        yield "links.arxiv", f"`{arxiv}` is of a month {month:02d}: check the identifier"
    elif (year, month) < (2007, 4):
        yield "links.arxiv", f"`{arxiv}` is of {year}-{month:02d}, and such identifiers begin in 2007-04: check it"
    elif digits != (4 if year < 2015 else 5):
        wanted = "4 digits before 2015" if year < 2015 else "5 digits since 2015"
        yield "links.arxiv", f"`{arxiv}` has {digits} digits after the point, but there are {wanted}: check it"
    elif year > record.year + 1:
        yield "links.arxiv", f"`{arxiv}` is of {year}, but the record is of {record.year}: check both"


def notes_are_short(record: Record) -> Iterator[tuple[str, str]]:
    """The notes are 3 to 8 sentences."""
    count = sentences(record.notes)
    low, high = SENTENCES
    if not low <= count <= high:
        yield "notes", f"the notes have {count} sentence{'s' * (count != 1)}: write {low} to {high}"


def sentences(text: str) -> int:
    """Count the sentences of a text; an item of a list is one, too, without a full stop.

    >>> sentences("A filter has a scale, e.g. 0.5 (see Sec. 3). Is it learned? No!")
    3
    """
    count = 0
    if "`" in text or "$" in text:
        text = SPANS.sub("x", text)
    for block in BLOCKS.split(text):
        marker = MARKER.match(block)
        prose = (block[marker.end() :] if marker else block).rstrip()
        if prose.strip():
            ends = [match.end() for match in END.finditer(prose) if not _abbreviates(prose[: match.end()])]
            count += len(ends) + (not ends or ends[-1] < len(prose))
    return count


def _abbreviates(text: str) -> bool:
    """Tell whether the full stop at the end of a text belongs to an abbreviation or to an initial in a name."""
    before, word = ["", "", *text[-60:].split()][-2:]
    bare = word.lstrip("([\"'").removesuffix(".")
    if len(bare) == 1 and bare.isupper():  # "J. D. Owens", but not "data for X. The next sentence"
        return before[:1].isupper()
    return word.endswith(".") and bare in ABBREVIATIONS


def _same_address(url: str) -> str:
    """Return what two addresses of one repository have in common."""
    return url.casefold().partition("://")[2].removeprefix("www.").rstrip("/").removesuffix(".git")


RULES: tuple[Callable[[Record], Iterator[tuple[str, str]]], ...] = (
    has_a_link,
    bits_ascend,
    pages_ascend,
    nothing_twice,
    alias_is_another_name,
    authors_stand_alone,
    names_are_plain,
    builds_on_others,
    arxiv_fits_year,
    notes_are_short,
)
