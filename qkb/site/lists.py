"""The view of a reading list: its sections and rows in its own order, corrected from the records."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from qkb.site import tables
from qkb.site.corrections import Correction, corrections
from qkb.site.facts import code_links, listing
from qkb.site.markdown import inline, link, table, text

if TYPE_CHECKING:
    from markupsafe import Markup

    from qkb.records.model import ListRow, ListSection, ReadingList
    from qkb.site.page import Page


@dataclass(frozen=True)
class ListView:
    """What the page of a list shows.

    Attributes:
        page: the page, for its links.
        reading_list: the list as it was printed.
    """

    page: Page
    reading_list: ReadingList

    @cached_property
    def corrections(self) -> list[Correction]:
        """What the list prints otherwise than the records say."""
        survey = self.page.survey
        return corrections(self.reading_list, survey.records, survey.vocabulary.venues)

    def section(self, section: ListSection) -> Markup:
        """Return a section's rows: the printed titles, the recorded facts."""
        heads = ["Paper, as the list prints it", "Year", "Venue", "Code", "Measured here"]
        return table(heads, map(self._row, section.rows))

    def _row(self, row: ListRow) -> list[object]:
        record = self.page.survey.records[row.record]
        return [
            self.page.paper(row.record, row.title),
            record.year,
            record.venue,
            code_links(record),
            tables.measured(self.page.survey, record),
        ]

    def corrections_table(self) -> Markup:
        """Return the table of corrections."""
        heads = ["Paper", "What", "The list prints", "The record says", "Why"]
        return table(heads, map(self._correction, self.corrections))

    def _correction(self, found: Correction) -> list[object]:
        printed, recorded = text(found.printed), text(found.recorded)
        codes = self.page.survey.records[found.record].code
        if found.what == "code":
            printed = link(found.printed, found.printed)
            recorded = listing(link(code.url, code.url) for code in codes) or recorded
        return [self.page.paper(found.record), found.what, printed, recorded, inline(found.why)]
