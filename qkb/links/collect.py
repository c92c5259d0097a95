"""Collects the links of a library: of its records, their notes and claims, and of its pages, each with its place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qkb.errors import UsageError, nearest
from qkb.links import scan
from qkb.links.address import SCHEMES, wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from qkb.paths import Place
    from qkb.records.load import Papers
    from qkb.records.model import Record

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
IDENTIFIERS = {
    "arxiv": "https://arxiv.org/abs/{}",
    "doi": "https://doi.org/{}",
    "openreview": "https://openreview.net/forum?id={}",
}


@dataclass(frozen=True, order=True, slots=True)
class Link:
    """A link where it stands.

    Args:
        file: the file, relative to the library's root.
        line: the line in it.
        path: dotted path in a record, such as `links.doi` or `code[0].url`; empty in a page.
        url: the address.
        record: the record's id; empty for a page.
        fault: what is wrong with it by its looks; empty where it can be asked.
    """

    file: str
    line: int
    path: str
    url: str
    record: str = ""
    fault: str = ""


def collect(place: Place, papers: Papers, ids: Iterable[str] = ()) -> list[Link]:
    """Return the links of some records, or of all records and the pages, by file and line.

    Raises:
        UsageError: an id is no record's.
    """
    chosen = known_ids(papers, ids)
    found: list[Link] = []
    for name in chosen or papers.records:
        if name in papers.records:
            found += of_record(papers.records[name], papers.lines[name], papers.files[name], place.root)
    if not chosen:
        for page in pages(place):
            found += of_page(page, place)
    return sorted(dict.fromkeys(found))


def known_ids(papers: Papers, ids: Iterable[str]) -> list[str]:
    """Return ids, each once.

    Raises:
        UsageError: an id is no record's.
    """
    chosen = list(dict.fromkeys(ids))
    for name in chosen:
        if name not in papers.files:
            raise UsageError(f"there is no record {name!r}. {nearest(name, papers.files)}".rstrip())
    return chosen


def of_record(record: Record, lines: Mapping[str, int], file: str, root: Path) -> Iterator[Link]:
    """Find the links of a record: those behind its identifiers, its addresses, and those in its prose."""
    from qkb.records.yaml_lines import line_of  # noqa: PLC0415 (yaml)

    fields = record.links.model_dump(exclude_none=True)
    values = {f"links.{key}": IDENTIFIERS.get(key, "{}").format(value) for key, value in fields.items()}
    values |= {f"code[{number}].url": code.url for number, code in enumerate(record.code)}
    for path, url in values.items():
        yield Link(file, line_of(lines, path), path, url, record.id, wrong(url))
    prose = {f"claims[{number}].says": claim.says for number, claim in enumerate(record.claims)}
    prose["notes"] = record.notes
    source: list[str] | None = None
    for path, text in prose.items():
        for target, _ in scan.links(text) if "://" in text or "](" in text else ():
            if source is None:
                source = (root / file).read_text(encoding="utf-8", errors="replace").split("\n")
            first = line_of(lines, path)
            here = (number for number, line in enumerate(source[first - 1 :], first) if target in line)
            yield Link(file, next(here, first), path, target, record.id, wrong(target))


def pages(place: Place) -> list[Path]:
    """Return the Markdown pages that people wrote, where the library has them."""
    named = [place.root / name for name in PAGES]
    return [page for page in (*named, *sorted((place.site / "pages").glob("**/*.md"))) if page.is_file()]


def of_page(page: Path, place: Place) -> Iterator[Link]:
    """Find the links of a page; links between the pages of the site are left to the site's own strict build."""
    file = os.path.relpath(page, place.root).replace(os.sep, "/")
    of_site = page.is_relative_to(place.site)
    for target, line in scan.links(page.read_text(encoding="utf-8", errors="replace")):
        scheme = target.partition(":")[0].lower() if ":" in target.partition("/")[0] else ""
        if scheme in SCHEMES or scheme not in {"", "mailto"} or target.startswith("//"):
            yield Link(file, line, "", target, "", wrong(target))
        elif not scheme and not of_site:
            path = target.partition("#")[0].partition("?")[0]
            if path and not (page.parent / path).exists():
                yield Link(file, line, "", target, "", f"there is no file {path}")
