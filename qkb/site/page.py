"""A page being rendered: it knows where it stands, so it can link to the others."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from qkb.site import tables
from qkb.site.facts import listing
from qkb.site.markdown import link

if TYPE_CHECKING:
    from markupsafe import Markup

    from qkb.records.model import Record
    from qkb.site.survey import Survey


@dataclass(frozen=True)
class Page:
    """A generated page.

    Attributes:
        path: below the folder of pages, such as `papers/xnor-net.md`.
        survey: what pages show.
    """

    path: str
    survey: Survey

    def href(self, target: str) -> str:
        """Return the relative address of another page, with its `#` part or query.

        >>> Page("papers/a.md", None).href("years/2016.md"), Page("index.md", None).href("papers/a.md#claims")
        ('../years/2016.md', 'papers/a.md#claims')
        """
        match = re.match(r"([^?#]*)(.*)", target)
        path, rest = (match[1], match[2]) if match else (target, "")
        return posixpath.relpath(path, posixpath.dirname(self.path) or ".") + rest

    def url(self, target: str) -> str:
        """Return the relative address of another page's folder in the finished site, for HTML that we write ourselves.

        >>> Page("fpga.md", None).url("fpga/mlp/a.md"), Page("index.md", None).url("fpga.md")
        ('mlp/a/', 'fpga/')
        """
        here, there = (re.sub(r"(^|/)index$", "", path.removesuffix(".md")) for path in (self.path, target))
        return posixpath.relpath(there or ".", here or ".") + "/"

    def to(self, target: str, label: object) -> Markup:
        """Return a link to another page."""
        return link(label, self.href(target))

    def paper(self, key: str, label: object = None) -> Markup:
        """Return a link to a record's page, labelled with its title unless told otherwise."""
        return self.to(f"papers/{key}.md", self.survey.records[key].title if label is None else label)

    def year(self, year: int) -> Markup:
        """Return a link to a year's page."""
        return self.to(f"years/{year}.md", year)

    def tags(self, record: Record) -> Markup:
        """Return links to the pages of a record's tags."""
        return listing(map(self.tag, record.tags))

    def topics(self, record: Record) -> Markup:
        """Return links to the pages of a record's topics."""
        return listing(map(self.topic, record.topics))

    def tag(self, key: str) -> Markup:
        """Return a link to a tag's page."""
        return self.to(f"tags/{key}.md", self.survey.vocabulary.tags[key].name)

    def topic(self, key: str) -> Markup:
        """Return a link to a topic's page."""
        return self.to(f"topics/{key}.md", self.survey.vocabulary.topics[key].name)

    def venue(self, key: str) -> Markup:
        """Return a link to a venue's line in the vocabulary."""
        return self.to(f"vocabulary.md#{venue_anchor(key)}", self.survey.vocabulary.venues[key].name)

    def listed(self, entry: str) -> Markup:
        """Return a link to the view of the list that an entry of `listed_in` names."""
        key, _, part = entry.partition("/")
        reading_list = self.survey.vocabulary.lists[key]
        titles = {section.id: section.title for section in reading_list.sections}
        return self.to(f"lists/{key}.md", f"{reading_list.title}, {titles.get(part, part)}")

    def table(self, records: Sequence[Record]) -> Markup:
        """Return the survey table of some records."""
        columns = tables.site_columns(self.survey, lambda key: self.href(f"papers/{key}.md"))
        return tables.records_table(records, columns)


def venue_anchor(key: str) -> str:
    """Return the name of a venue's place in the vocabulary page.

    >>> venue_anchor("CVPR Workshop")
    'venue-cvpr-workshop'
    """
    return "venue-" + re.sub(r"[^a-z0-9]+", "-", key.casefold()).strip("-")


def with_front_matter(meta: Mapping[str, Any], body: str) -> str:
    """Return a page's text: YAML front matter, then Markdown."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the one in C is five times as fast
    head = yaml.dump(dict(meta), Dumper=dumper, allow_unicode=True, sort_keys=False, width=10**9)
    return f"---\n{head}---\n\n{body.strip()}\n"
