"""Reads one line of a list, an item or the cells of a row, into the works that it names.

The title is, in this order: what stands in quotation marks; the text of a link that is no `code`, `paper` or venue;
what is bold; else the text that is left. What stands around it is read by `citation`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qkb.imports import identifiers
from qkb.imports.citation import CLOSING_YEAR, Around, around, is_venue, tidy_venue, year_in
from qkb.imports.markdown_inline import Part, parts, plain
from qkb.imports.people import in_prose
from qkb.imports.terms import CODE, FORMS, FRAMEWORKS, OTHER, PAPER
from qkb.imports.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

QUOTED = re.compile(r"[“\"«„]\s*([^“”\"«»]{6,}?)\s*[”\"»“]")
BOLD = re.compile(r"(?<!\w)(\*\*|__)(?=\S)(.{1,500}?)(?<=\S)\1(?!\w)")
# A title, and behind it something in italics.
LEANING = re.compile(r"^(.{8,}?)[\s,.]*(?<![\w*_])[*_]([^*_]{4,300})[*_](?![\w*_])[\s.,]*$")
LEAD_YEAR = re.compile(
    r"^\(?\s*((?:19[4-9]|20\d)\d)\s*[-–_/.,:]?\s*([A-Za-z][\w&+-]{1,12}(?:\s[Ww]orkshop)?)?\s*\)?\s*[-–_:.,]\s*(?=\S)"
)
LEAD = re.compile(r"^[\[(【]([^\[\]()【】]{2,60})[\])】]\s*[:,.-]?\s*")
TAIL = re.compile(r"[\s,.:;-]*[(\[【]([^()\[\]【】]{2,80})[\])】]\s*[.,;]?$")
APA = re.compile(r"^(?P<names>[^()\d]{5,300}?)[\s,.]*\((?P<year>(?:19|20)\d\d)[a-z]?\)[\s.,:]+(?P<rest>\S.*)$")
SENTENCE = re.compile(r"(?<=[\w)?!][\w)?!])[.?!]\s+(?=[A-Z\u4e00-\u9fff])")
PARENTHESISED_END = re.compile(r"\s*\([^()]*\)\s*\.?$")
AND_ANOTHER = re.compile(r"\s\+\s+(?=[A-Z][\w-]+(?:[:\s]+[\w-]+){2})")
JUNK = re.compile(r"^(?:[\s:;,.|>*•·–—~+&/-]|-->|->)+|[\s:;,|>*•·–—~+&/(\[{-]+$|(?:\s*\.)+$")
NOTHING = re.compile(r"[-–—/\s.·xX✗✘×]*|n/?a|none|tbd|todo|unknown|null", re.IGNORECASE)
EMPTY_PAIRS = re.compile(r"\(\s*[,;/|&]?\s*\)|\[\s*[,;/|&]?\s*\]|【\s*】|（\s*）")
MOST = 10_000


@dataclass
class Line:
    """What one line says, link by link.

    Args:
        works: the works that it names.
        only_within: whether all its links lead to places of the same file.
        only_address: whether it is an address and nothing else.
        evidence: whether something but the words says that this is a work: an identifier, quotation marks, a venue.
        flow: its words without links to code and the like.
    """

    works: list[Work] = field(default_factory=list)
    only_within: bool = False
    only_address: bool = False
    evidence: bool = False
    flow: str = ""


@dataclass
class _Gathered:
    """The parts of a line by what they are for."""

    flow: list[str] = field(default_factory=list)
    titles: list[Part] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    code: list[tuple[str, str]] = field(default_factory=list)
    venues: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


def read_line(text: str, addresses: Mapping[str, str] | None = None) -> Line:
    """Return what a line says.

    >>> work = read_line("[[ICLR](https://openreview.net/forum?id=POWv6hDd9XH)] A Net: Made. [**`qnn`**]").works[0]
    >>> work.title, work.venue, work.openreview, work.tags
    ('A Net: Made', 'ICLR', 'POWv6hDd9XH', ('qnn',))
    """
    found = parts(text[:MOST], addresses)
    links = [part for part in found if part.url]
    got = _gather(found)
    flow = " ".join(got.flow)
    line = Line(flow=plain(flow.replace("\n", " ")))
    line.only_within = bool(links) and all(part.url.startswith("#") for part in links)
    line.only_address = bool(links) and not got.titles and not re.search(r"\w", line.flow)
    line.works = _works(got, flow)
    line.evidence = bool(got.venues) or any(
        work.identifiers or work.pdf or (work.authors and work.year) or QUOTED.search(flow) for work in line.works
    )
    return line


def tidy_title(text: str) -> str:
    """Return a title without what surrounds it on a line.

    >>> tidy_title("**A Net**: 2-bit weights."), tidy_title("Accelerating Nets.pdf"), tidy_title("Why (and how)?")
    ('A Net: 2-bit weights', 'Accelerating Nets', 'Why (and how)?')
    """
    text = EMPTY_PAIRS.sub(" ", plain(text.replace("\n", " ")))
    before = None
    while before != text:
        before = text
        text = JUNK.sub("", _unquoted(text.strip()))
    if text.count(")") > text.count("("):
        text = text.removesuffix(")").strip()
    return re.sub(r"\.pdf$", "", text, flags=re.IGNORECASE).strip()


def _unquoted(text: str) -> str:
    """Return a text without the quotation marks around it; those around words of it stay."""
    inner = text.strip('“”"«»')
    within = sum(text.count(mark) for mark in '“”"«»') - (len(text) - len(inner))
    return (text if within % 2 else inner).strip()


def _gather(found: Iterable[Part]) -> _Gathered:
    got = _Gathered()
    for part in found:
        if part.kind == "break":
            got.flow.append("\n")
        elif part.kind == "text":
            got.flow.append(part.text)
        elif part.kind == "tag":
            _tag(part, got)
        elif part.kind == "badge":
            _badge(part, got)
        elif not part.url.startswith(("#", "mailto:")):
            _link(part, got)
        else:
            got.flow.append(part.text)
    return got


def _tag(part: Part, got: _Gathered) -> None:
    year = re.fullmatch(r"((?:19|20)\d\d)(?:[/.-]\d{1,2})?", part.text)
    if is_venue(part.text) or year:
        got.venues.append(year[1] if year else part.text)
    elif len(part.text.split()) > 4:
        got.flow.append(f"[{part.text}]")
    elif re.search(r"\w", part.text.replace("_", "")):
        got.tags.append(part.text)


def _badge(part: Part, got: _Gathered) -> None:
    label, _, message = part.text.partition(": ")
    if label.casefold() in {"conference", "publish", "published", "venue", "journal", "publication", "pub", "accepted"}:
        got.venues.append(message)
    elif identifiers.is_code(part.url):
        got.code.append((part.url, ""))
    elif identifiers.of_addresses([part.url]).keys() & {"arxiv", "doi", "openreview"}:
        got.urls.append(part.url)


def _link(part: Part, got: _Gathered) -> None:
    """Put a link where its label says that it belongs."""
    label = part.text.casefold().strip(" .:!*[]()")
    url = identifiers.plain_address(part.url)
    short = len(label.split()) < 3
    if label in OTHER:
        return
    if not part.text or label in PAPER or label.startswith(("http://", "https://", "arxiv:")):
        _place(url, got)
        if url and label == "arxiv" and part.boxed:
            got.venues.append("arXiv")
    elif label in CODE or label.split("/")[-1].strip() in CODE or re.fullmatch(r"code\W*\w{0,12}\W*", label):
        if url:
            got.code.append((url, label if label in FRAMEWORKS else ""))
    elif (part.boxed or short) and is_venue(part.text):
        got.venues.append(part.text)
        if not identifiers.is_code(url):
            _place(url, got)
    elif part.boxed and short:
        _boxed(part.text, url, got)
    else:
        got.titles.append(replace(part, url=url))
        got.flow.append(part.text)


def _boxed(text: str, url: str, got: _Gathered) -> None:
    """Put a short unknown word in brackets: the first with an address is taken for the venue."""
    if identifiers.is_code(url):
        _place(url, got)
    elif url and (got.urls or got.titles):
        got.tags.append(text)
    elif url:
        got.venues.append(text)
        _place(url, got)


def _place(url: str, got: _Gathered) -> None:
    """Put an address among those of the code, or of the work."""
    if identifiers.is_code(url):
        got.code.append((url, ""))
    elif url:
        got.urls.append(url)


def _works(got: _Gathered, flow: str) -> list[Work]:
    """Return the works that the parts of a line make."""
    others = [part for part in got.titles[1:] if len(part.text.split()) > 3 and _identified(part.url)]
    if got.titles and others and _identified(got.titles[0].url):  # several titles, each with an identifier of its own
        return [
            Work(title=tidy_title(part.text), **identifiers.of_addresses([part.url]))
            for part in (got.titles[0], *others)
        ]
    title, before, after = _title(got, flow)
    more = AND_ANOTHER.split(after, maxsplit=1)
    work = _work(got, title, before, more[0] if len(more) > 1 else after)
    if len(more) < 2:
        return [work]
    second = read_line(more[1]).works
    urls = [match[0] for match in identifiers.ADDRESS.finditer(more[1])] or got.urls[-1:]
    rest = [url for url in got.urls if url not in urls] if len(got.urls) > 0 else []
    first = _work(replace(got, urls=rest), title, before, more[0])
    text = PARENTHESISED_END.sub("", more[1])
    second = [Work(title=tidy_title(text), **identifiers.of_addresses(urls))] if second else []
    return [first, *second]


def _identified(url: str) -> bool:
    return bool(identifiers.of_addresses([url]).keys() & {"arxiv", "doi", "openreview", "pdf"})


def _title(got: _Gathered, flow: str) -> tuple[str, str, str]:
    """Return the title and what stands before and after it."""
    quoted = QUOTED.search(flow)
    if quoted and len(quoted[1].split()) > 1 and not _within(quoted, flow, got):
        return quoted[1].rstrip(",."), flow[: quoted.start()], flow[quoted.end() :]
    if got.titles:
        best = next((part for part in got.titles if len(part.text.split()) > 2), got.titles[0])
        before, _, after = flow.partition(best.text)
        words = plain(before)
        if not words and (in_prose(CLOSING_YEAR.sub("", plain(after)))[0] or re.match(r"\s*@", after)):
            return best.text, before, after
        if best.text in flow and len(best.text.split()) < 3 and len(tidy_title(words + after).split()) > 3:
            return _plain_title(got, f"{words} {best.text}{after}" if words else best.text + after)
        return best.text, before, after
    bold = next((match for match in BOLD.finditer(flow) if len(match[2].split()) > 2), None)
    if bold:
        goes_on = re.match(r"\s*:\s*(?=\w)", flow[bold.end() :])
        if not goes_on and not bold[2].rstrip().endswith(":"):
            return bold[2], flow[: bold.start()], flow[bold.end() :]
    return _plain_title(got, flow)


def _within(quoted: re.Match[str], flow: str, got: _Gathered) -> bool:
    """Tell whether quotation marks stand within a title: in the text of a link, or behind words that go on."""
    if any(quoted[0] in part.text and part.text.strip() != quoted[0] for part in got.titles):
        return True
    after, before = flow[quoted.end() :], flow[: quoted.start()].rstrip()
    return bool(re.match(r"\s*[:?]?\s*(?!(?i:arxiv)|in\b|pp?\b)[a-z]", after)) or (
        bool(before) and before[-1].isalpha() and not in_prose(before)[0]
    )


def _plain_title(got: _Gathered, flow: str) -> tuple[str, str, str]:
    """Return the title of a line without marks."""
    first, _, after = flow.partition("\n")
    leaning = LEANING.match(first)
    if leaning and (about := around(leaning[2])) and (about.authors or is_venue(about.venue)):
        first, after = leaning[1], f"{leaning[2]} {after}"
    text = tidy_title(first) or tidy_title(flow)
    apa = APA.match(text)
    if apa and in_prose(apa["names"])[0]:
        title, _, rest = apa["rest"].partition(". ")
        return title, apa["names"], f" ({apa['year']}) {rest} {after}"
    text, after = _without_ends(got, text, after)
    pieces = SENTENCE.split(text, maxsplit=1)
    if len(pieces) > 1:
        rest_of = around(pieces[1])
        if rest_of.authors or (rest_of.venue and is_venue(rest_of.venue)) or rest_of.found:
            return pieces[0], "", f". {pieces[1]} {after}"
        if len(in_prose(pieces[0])[0]) > 1:
            title, _, rest = pieces[1].partition(". ")
            return title, pieces[0], f". {rest} {after}"
    head, comma, last = text.rpartition(", ")
    if comma and (is_venue(last) or re.fullmatch(r"(?:19|20)\d\d", last)) and len(head.split()) > 2:
        title, comma, venue = head.rpartition(", ")
        if comma and is_venue(venue) and re.fullmatch(r"\d+", last):
            return title, "", f", {venue}, {last} {after}"
        return head, "", f", {last} {after}"
    return text, "", after


def _without_ends(got: _Gathered, text: str, after: str) -> tuple[str, str]:
    """Take off what stands in brackets, or as a year and a venue, at the beginning and at the end of a line."""
    lead = LEAD_YEAR.match(text)
    if lead and len(text[lead.end() :].split()) > 1:
        got.venues.append(f"{lead[2] or ''} {lead[1]}")
        text = text[lead.end() :]
    lead = LEAD.match(text)
    while lead and (is_venue(lead[1]) or year_in(lead[1])):
        got.venues.append(lead[1])
        text = text[lead.end() :]
        lead = LEAD.match(text)
    tail = TAIL.search(text)
    while tail and len(text[: tail.start()].split()) > 1 and _remark(tail[1]):
        after = f" ({tail[1]}) {after}"
        text = text[: tail.start()]
        tail = TAIL.search(text)
    return text, after


def _remark(text: str) -> bool:
    """Tell whether a parenthesis at the end is a remark on the row, not a part of the title."""
    return is_venue(text) or year_in(text) is not None or text.startswith("@") or text.casefold().strip() in FORMS


def _work(got: _Gathered, title: str, before: str, after: str) -> Work:
    """Return the work with a title, with what stands around it."""
    for part in got.titles:  # more links to code behind the title
        if part.text != title and identifiers.is_code(part.url):
            after = after.replace(part.text, "", 1)
    about = around(f"{plain(after)}") if after.strip() else Around()
    names, more = in_prose(plain(before)) if before.strip() else ((), False)
    if not names:
        names, more = about.authors, about.more
    best = [part.url for part in got.titles if part.text == title]
    urls = [*best, *got.urls]
    code = [*got.code, *((url, "") for url in urls if identifiers.is_code(url) and url not in dict(got.code))]
    found = identifiers.of_addresses(url for url in urls if not identifiers.is_code(url))
    found = {**about.found, **found}
    venue = next((name for text in got.venues if (name := tidy_venue(text))), "") or about.venue
    year = next((year for text in got.venues if (year := year_in(text))), None) or about.year
    if before.strip() and not names:
        year = year or year_in(plain(before))
        venue = venue or (tidy_venue(plain(before)) if is_venue(plain(before)) else "")
    return Work(
        title=tidy_title(title),
        authors=names,
        more_authors=more,
        year=year,
        venue=venue,
        pages=about.pages,
        code=tuple(dict.fromkeys((url, framework) for url, framework in code if url)),
        tags=tuple(got.tags),
        **found,
    )
