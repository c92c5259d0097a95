"""The survey tables: records in sections, by year, topic, tag or reading list, as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qkb.site.facts import badge, bits, code_links, places, short_authors, verdict_badges
from qkb.site.markdown import joined, link, table, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

    from qkb.records.model import Record
    from qkb.site.survey import Survey

By = Literal["year", "topic", "tag", "list"]


@dataclass(frozen=True)
class Column:
    """A column: its head and what it shows of a record."""

    head: str
    cell: Callable[[Record], Markup]


@dataclass(frozen=True)
class Section:
    """Records under one heading.

    Attributes:
        key: year, topic, tag, or `list/section`.
        title: the heading.
        description: a sentence on it, or nothing.
        records: in the order in which they are shown.
    """

    key: str
    title: str
    description: str
    records: Sequence[Record]


def sections(survey: Survey, by: By) -> list[Section]:
    """Return the survey in sections; terms without records are left out."""
    words = survey.vocabulary
    if by == "year":
        return [Section(str(year), str(year), "", found) for year, found in survey.years.items()]
    if by == "list":
        return [
            Section(
                f"{key}/{part.id}", f"{listed.title}: {part.title}", "", [survey.records[r.record] for r in part.rows]
            )
            for key, listed in words.lists.items()
            for part in listed.sections
        ]
    terms, groups = (words.topics, survey.topics) if by == "topic" else (words.tags, survey.tags)
    return [
        Section(key, term.name, term.description, groups[key])
        for key, term in sorted(terms.items(), key=lambda item: item[1].name.casefold())
        if key in groups
    ]


def site_columns(survey: Survey, page_of: Callable[[str], str]) -> list[Column]:
    """Return the columns of the site's tables.

    Args:
        survey: for what was measured.
        page_of: gives the address of a record's page, by id.
    """
    return [
        Column("Paper", lambda record: link(record.title, page_of(record.id))),
        Column("Authors", lambda record: text(short_authors(record))),
        Column("Year", lambda record: text(record.year)),
        Column("Venue", lambda record: text(record.venue)),
        Column("Bits", lambda record: text(bits(record))),
        Column("Tags", lambda record: text(", ".join(record.tags))),
        Column("Code", code_links),
        Column("Measured here", lambda record: measured(survey, record)),
    ]


def measured(survey: Survey, record: Record) -> Markup:
    """Return what this project measured for a record: verdict counts, or that nothing runs yet."""
    if record.id not in survey.sources:
        return badge("wanted")
    return verdict_badges(survey.results.get(record.id)) or text("runs")


def plain_columns() -> list[Column]:
    """Return the columns of `qkb tables`: links go to the work itself, so that the table stands on its own."""
    return [
        Column("Paper", lambda record: link(record.title, next(iter(places(record).values()), ""))),
        Column("Authors", lambda record: text(short_authors(record))),
        Column("Year", lambda record: text(record.year)),
        Column("Venue", lambda record: text(record.venue)),
        Column("Bits", lambda record: text(bits(record))),
        Column("Tags", lambda record: text(", ".join(record.tags))),
        Column("Code", code_links),
        Column("Implementation", lambda record: text(record.implementation)),
    ]


def records_table(records: Sequence[Record], columns: Sequence[Column]) -> Markup:
    """Return one table with a row per record."""
    return table([column.head for column in columns], ([column.cell(r) for column in columns] for r in records))


def document(survey: Survey, by: By) -> str:
    """Return the whole survey as one Markdown text with a heading and a table per section."""
    columns = plain_columns()
    blocks = []
    for section in sections(survey, by):
        blocks.append(text(section.title).join(("## ", "")))
        if section.description:
            blocks.append(text(section.description))
        blocks.append(records_table(section.records, columns))
    return joined(blocks, "\n\n") + "\n"
