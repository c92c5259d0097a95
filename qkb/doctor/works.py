"""Checks on what records are about: the same work twice, identifiers that hide in addresses, rows of other lists."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qkb.doctor.finding import Finding, Fix, Library
from qkb.imports import account, catalogue, identifiers
from qkb.imports.titles import letters
from qkb.imports.work import Work
from qkb.records.faults import Fault, FaultsError
from qkb.records.fit import fit
from qkb.records.layout import lay_out
from qkb.records.model import Links
from qkb.records.yaml_lines import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qkb.records.model import Record

# Addresses that say nothing but an identifier: with it in its place, they say it twice.
BARE = re.compile(
    r"https?://(?:(?:www\.)?arxiv\.org/abs/[^/?#]+|(?:dx\.)?doi\.org/10\.[^?#]+|openreview\.net/forum\?id=[\w-]+)/?",
    re.IGNORECASE,
)
NAMES = {"arxiv": "arXiv id", "doi": "DOI", "openreview": "OpenReview id"}


def duplicates(library: Library) -> Iterator[Finding]:
    """Two records that may be one work.

    Looks for titles that are spelled nearly alike, for addresses that two records share, and for identifiers that one
    record names and another hides in an address. Authors, years and identifiers that contradict speak against it: two
    works with arXiv ids of their own are never reported. What is surely the same (equal titles or identifiers) is a
    fault of `qkb validate`. Nothing is mended: which record stays is for you to say.
    """
    known = catalogue.Catalogue()
    for record in library.papers.records.values():
        work = _work(record)
        verdict = known.find(work)
        for other in verdict.ids:
            known_as = library.papers.records[other]
            if not _same_to_rules(record, known_as) and not _are_two(work, _work(known_as)):
                message = f"maybe the work of {library.papers.files[other]} ({verdict.why}): merge them if so"
                yield library.of_record("duplicates", record.id, "title", message)
        known.add(replace(catalogue.of_work(record.id, work, ""), titles=(record.title, *record.aliases)))


def _work(record: Record) -> Work:
    """Return a record as an import would see it, with the identifiers that its addresses hide."""
    links = record.links
    hidden = {key: value for _, key, value in _hints(record)}
    hidden |= {key: value for key in NAMES if (value := getattr(links, key))}
    if identifiers.ARXIV_DOI.match(hidden.get("doi", "")):
        hidden["arxiv"] = hidden.get("arxiv") or identifiers.arxiv(hidden["doi"])
        del hidden["doi"]
    return Work(
        record.title, record.authors, year=record.year, url=links.url or "", pdf=links.pdf or "",
        arxiv=hidden.get("arxiv", ""), doi=hidden.get("doi", ""), openreview=hidden.get("openreview", ""),
    )  # fmt: skip


def _are_two(one: Work, other: Work) -> bool:
    return bool(one.arxiv and other.arxiv) and one.arxiv != other.arxiv


def _same_to_rules(one: Record, other: Record) -> bool:
    """Tell whether the validator reports these two already."""
    shared = any(getattr(one.links, key) and getattr(one.links, key) == getattr(other.links, key) for key in NAMES)
    titles = [letters(title) for title in (other.title, *other.aliases)]
    return shared or letters(one.title) in titles


def ids(library: Library) -> Iterator[Finding]:
    """An arXiv id, DOI or OpenReview id that stands in an address and not in its own key.

    Looks at `links.url`, `links.pdf`, a DOI that only stands for an arXiv id, and the addresses of code. --fix moves
    the identifier to its key, and removes a `links.url` that said nothing else. It keeps comments, and leaves a record
    alone where a comment would be lost.
    """
    for record in library.papers.records.values():
        file = library.papers.files[record.id]
        for path, key, value in _hints(record):
            mine = getattr(record.links, key)
            told = NAMES[key]
            source = path.rpartition(".")[2]
            if mine is not None and mine.casefold() != value.casefold():
                message = f"leads to the {told} {value}, but links.{key} is {mine}: correct one of them"
                yield library.of_record("ids", record.id, path, message)
            elif not path.startswith("links."):
                if mine is None:
                    message = f"leads to the paper with the {told} {value}, not to code: move it to links.{key}"
                    yield library.of_record("ids", record.id, path, message)
            elif mine is None:
                bare = _is_bare(record, source)
                fix = _fix(file, f"move it to links.{key}" if bare else f"add links.{key}", key, value, remove=bare)
                message = f"names the {told} {value}, and links.{key} is missing"
                yield library.of_record("ids", record.id, path, message, fix)
            elif _is_bare(record, source):
                fix = _fix(file, f"remove links.{source}", key, value, remove=source)
                yield library.of_record("ids", record.id, path, f"says what links.{key} says already", fix)


def _hints(record: Record) -> Iterator[tuple[str, str, str]]:
    """Yield (dotted path, key of an identifier, the identifier) for each one in an address."""
    places = [("links.url", record.links.url), ("links.pdf", record.links.pdf)]
    places += [(f"code[{index}].url", code.url) for index, code in enumerate(record.code)]
    for path, url in places:
        for key in NAMES:
            value = getattr(identifiers, key)(url) if url else ""
            if value:
                yield path, key, value
    if record.links.doi and identifiers.ARXIV_DOI.match(record.links.doi):
        yield "links.doi", "arxiv", identifiers.arxiv(record.links.doi)


def _is_bare(record: Record, source: str) -> str:
    """Return the key of an address that says nothing but an identifier; an empty text where it says more."""
    value = getattr(record.links, source)
    return source if source == "doi" or (source == "url" and BARE.fullmatch(value)) else ""


def _fix(file: str, says: str, key: str, value: str, *, remove: str) -> Fix:

    def changed(links: dict[str, Any]) -> dict[str, Any]:
        kept = {name: old for name, old in links.items() if name != remove}
        return {**kept, key: links.get(key, value)}

    return Fix(says, file, lambda source: with_links(source, file, changed))


def with_links(source: bytes, file: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """Return the text of a record, laid out, with other links.

    Raises:
        FaultsError: the file cannot be read, the new links are at fault, or a comment would be lost.
    """
    parsed = parse(source, file)
    if parsed.data is None or parsed.faults or not isinstance(parsed.data.get("links"), dict):
        raise FaultsError(parsed.faults or [Fault(file, 1, "links", "there are no links to change")])
    links = change(parsed.data["links"])
    _, faults = fit(links, Links, file=file, parsed=parsed, prefix="links")
    if faults:
        raise FaultsError(faults)
    return lay_out(replace(parsed, data={**parsed.data, "links": links}), file)


def lists(library: Library) -> Iterator[Finding]:
    """A row of a reading list that no record covers.

    Needs --list FILE, a reading list in Markdown (or BibTeX, CSL-JSON, RIS). Rows are compared as `qkb import` does it;
    rows that are new, that may be one of several records, or that cannot be understood are reported. `qkb import
    --write` makes drafts of the new ones.
    """
    if not library.lists:
        return
    for line in account.run(library.place, library.lists).lines:
        if line.status == "known":
            continue
        what = line.title or line.text
        said = {"new": "has no record: qkb import writes a draft", "ambiguous": f"is ambiguous: {line.why}"}
        message = f"`{what[:100]}` {said.get(line.status, f'is not understood: {line.why or line.text[:60]}')}"
        yield Finding(line.file, line.line, "", message, "lists")
