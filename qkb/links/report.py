"""Reports on links: lines of text, JSON, Markdown, and annotations of GitHub."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from qkb.links.history import day
from qkb.records.faults import Fault, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qkb.links.collect import Link
    from qkb.links.history import Known

# Beyond what answers say: `wrong` by its looks, so that nobody asks; `unasked`; and `differs`, where a registry
# describes another work than the record.
Shown = Literal["ok", "moved", "dead", "anchor", "refused", "unknown", "wrong", "differs", "unasked"]
FAULTS: tuple[Shown, ...] = ("dead", "differs", "anchor", "refused", "wrong")
ORDER: tuple[Shown, ...] = (*FAULTS, "moved", "unknown", "unasked", "ok")
ARCHIVE = "https://web.archive.org/web/{}/{}"
TABLE_HEAD = "| Where | Link | What | Since |\n| --- | --- | --- | --- |\n"
FORMATS = ("text", "json", "markdown", "github")
HEADINGS = {
    "dead": "Dead",
    "differs": "Another work",
    "anchor": "Anchor missing",
    "refused": "Refused",
    "wrong": "No link",
    "moved": "Moved",
    "unknown": "Unknown",
    "unasked": "Not asked",
    "ok": "Well",
}


@dataclass(frozen=True)
class Row:
    """A link, where it stands, and what is known of it; dates as YYYY-MM-DD, empty where there is none.

    Args:
        file: the file, relative to the library's root, and so on as in `Link`.
        status: what it is.
        reason: why, in words.
        code: the last status of HTTP.
        moved: the new address of a link that has moved for good.
        archive: where an archive may have a copy of a dead one.
        asked: when it was asked last.
        since: since when it has this status.
        good: when it was well for the last time.
    """

    file: str
    line: int
    path: str
    record: str
    url: str
    status: Shown
    reason: str = ""
    code: int | None = None
    moved: str = ""
    archive: str = ""
    asked: str = ""
    since: str = ""
    good: str = ""

    def message(self) -> str:
        """Return what there is to say in one line.

        >>> Row("a.md", 1, "", "", "https://a.example/x", "ok").message()
        'ok: https://a.example/x'
        """
        since = f" since {self.since}" if self.since and self.since != self.asked else ""
        reason = f" {self.reason}" if self.reason else ""
        archive = f"; an archive may have it: {self.archive}" if self.archive else ""
        return f"{self.status}{since}: {self.url}{reason}{archive}"


def row(link: Link, known: Known | None) -> Row:
    """Return what is known of a link in one row."""
    place = (link.file, link.line, link.path, link.record, link.url)
    if link.fault:
        return Row(*place, "wrong", link.fault)
    if known is None:
        return Row(*place, "unasked")
    archive = archived(link.url, known.good) if known.status in {"dead", "anchor"} else ""
    dates = (day(known.asked), day(known.since), "" if known.good is None else day(known.good))
    return Row(*place, known.status, known.reason, known.code, known.moved, archive, *dates)


def archived(url: str, good: float | None) -> str:
    """Return where the Internet Archive shows its copies: of the day when the link was well, else all.

    >>> archived("https://a.example/x", None)
    'https://web.archive.org/web/2*/https://a.example/x'
    >>> archived("https://a.example/x#y", 0.0)
    'https://web.archive.org/web/19700101/https://a.example/x#y'
    """
    return ARCHIVE.format("2*" if good is None else day(good).replace("-", ""), url)


def is_fault(found: Row) -> bool:
    """Tell whether a link is broken for certain."""
    return found.status in FAULTS


def counts(rows: Iterable[Row]) -> dict[str, int]:
    """Return how many links there are of each status, the worst first."""
    found = Counter(each.status for each in rows)
    return {status: found[status] for status in ORDER if found[status]}


def summary(rows: Sequence[Row]) -> str:
    """Return the counts in one line.

    >>> summary([Row("a.md", 1, "", "", "https://a.example", status) for status in ("ok", "dead", "ok")])
    '3 links: 1 dead, 2 ok'
    """
    links = f"{len(rows)} link{'s' * (len(rows) != 1)}"
    return ": ".join(part for part in (links, ", ".join(f"{n} {name}" for name, n in counts(rows).items())) if part)


def render(rows: Sequence[Row], form: str, *, every: bool = False) -> str:
    """Return a report.

    Args:
        rows: the links.
        form: one of FORMATS.
        every: whether links that are well are shown, too; JSON always has them.
    """
    shown = [each for each in rows if every or each.status not in {"ok", "unasked"}]
    if form == "json":
        whole = {"summary": counts(rows), "links": [asdict(each) for each in rows]}
        return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"
    if form == "markdown":
        return markdown(rows, shown)
    lines = (annotation(each) if form == "github" else str(fault(each)) for each in shown)
    return "".join(f"{line}\n" for line in lines)


def fault(found: Row) -> Fault:
    """Return a row in the shape in which every command names what is wrong."""
    return Fault(found.file, found.line, found.path, found.message())


def annotation(found: Row) -> str:
    """Return a row as GitHub shows it beside the line: an error where it is broken, else a warning.

    >>> annotation(Row("a,b.md", 3, "", "", "https://a.example/50%", "unknown", "answers 403"))
    '::warning file=a%2Cb.md,line=3,title=link unknown::unknown: https://a.example/50%25 answers 403'
    """
    kind = "error" if is_fault(found) else "notice" if found.status in {"ok", "unasked"} else "warning"
    where = f"file={_escaped(found.file, ':,')},line={found.line},title=link {found.status}"
    return visible(f"::{kind} {where}::{_escaped(found.message())}")


def markdown(rows: Sequence[Row], shown: Sequence[Row]) -> str:
    """Return the report as Markdown: the counts, then a table for each status."""
    parts = [f"# Links\n\n{summary(rows)}.\n"]
    for status in ORDER:
        found = [each for each in shown if each.status == status]
        if found:
            parts.append(f"\n## {HEADINGS[status]} ({len(found)})\n\n{TABLE_HEAD}")
            parts += map(_table_row, found)
    return "".join(parts)


def _table_row(found: Row) -> str:
    copy = f" [Archive](<{_target(found.archive)}>)" if found.archive else ""
    where = f"{_cell(found.file)}:{found.line}" + (f" {_cell(found.path)}" if found.path else "")
    link = f"`{visible(found.url).replace('`', '%60').replace('|', '%7C')}`"
    return f"| {where} | {link} | {_cell(found.reason)}{copy} | {found.since} |\n"


def _target(url: str) -> str:
    """Return an address that cannot end a Markdown link or a cell of a table before its time."""
    return visible(url).replace("<", "%3C").replace(">", "%3E").replace("|", "%7C").replace(" ", "%20")


def _cell(text: str) -> str:
    """Return text that is nothing but text in a table: what comes from servers is not trusted."""
    escaped = visible(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for mark in "|`*_[]":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped


def _escaped(text: str, marks: str = "") -> str:
    for mark in f"%\r\n{marks}":
        text = text.replace(mark, f"%{ord(mark):02X}")
    return text
