"""Renders the pages: the survey goes into Jinja2 templates, Markdown comes out.

Templates are safe by default: a value that is not `Markup` is escaped as Markdown text when it is printed.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from qkb.entry import Entry
from qkb.formats import to_bibtex
from qkb.site import claims, designs, docstring, facts, families, lists, markdown, tables
from qkb.site.metadata import front_matter
from qkb.site.page import Page, venue_anchor, with_front_matter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from qkb.records.model import Record
    from qkb.site.survey import Survey

WHOLE_SURVEY = 500  # up to so many records, one page may hold all of them
LATEST = 8
_FOLDERS: tuple[tuple[tables.By, str], ...] = (("year", "years"), ("topic", "topics"), ("tag", "tags"))
_NO_SIDEBARS = ("navigation", "toc")
_NO_NAVIGATION = ("navigation",)


def overview(title: str, hide: Sequence[str] = ()) -> dict[str, Any]:
    """Return the front matter of a page that only leads to others; the search has no use for it."""
    return {"title": markdown.plain(title), "hide": list(hide), "qkb": {"search": False}}


def safe(value: object) -> Markup:
    """Return what a template prints: markup as it is, anything else escaped."""
    return value if isinstance(value, Markup) else markdown.text(value)


def environment(templates: Path) -> Environment:
    """Return the template engine: strict about names, safe about values."""
    engine = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        finalize=safe,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters.update(plural=facts.plural, code=markdown.code, inline=markdown.inline, prose=markdown.prose)
    return engine


@dataclass(frozen=True)
class Renderer:
    """Makes every generated page of the site.

    Attributes:
        survey: what the pages show.
        templates: the folder of the templates.
    """

    survey: Survey
    templates: Path

    @cached_property
    def engine(self) -> Environment:
        """The template engine, made once."""
        return environment(self.templates)

    def pages(self) -> dict[str, str]:
        """Return the text of every generated page by its path below the folder of pages."""
        found = {
            "index.md": self.index(),
            "implementations.md": self.implementations(),
            "vocabulary.md": self.vocabulary(),
        }
        for by, folder in _FOLDERS:
            found |= self.grouped(by, folder)
        found |= self.lists() | self.family_pages() | self.hardware()
        return found | {f"papers/{key}.md": self.paper(record) for key, record in self.survey.records.items()}

    def index(self) -> str:
        """Return the front page."""
        verdicts = dict.fromkeys(facts.VERDICTS, 0)
        for result in self.survey.results.values():
            for verdict, count in facts.verdict_counts(result).items():
                verdicts[verdict] += count
        meta = overview("The executable survey of neural-network quantization", _NO_SIDEBARS)
        return self._render("index.md", meta, "index.md", verdicts=verdicts, latest=self.survey.newest_first[:LATEST])

    def grouped(self, by: tables.By, folder: str) -> dict[str, str]:
        """Return the overview of years, topics or tags, and a page for each of them."""
        parts = tables.sections(self.survey, by)
        whole = by == "year" and len(self.survey.records) <= WHOLE_SURVEY
        meta = overview(f"By {by}", _NO_NAVIGATION if whole else _NO_SIDEBARS)
        index = f"{folder}/index.md"
        found = {index: self._render("groups.md", meta, index, by=by, folder=folder, sections=parts, whole=whole)}
        for part in parts:
            path = f"{folder}/{part.key}.md"
            found[path] = self._render("group.md", overview(part.title, _NO_SIDEBARS), path, section=part)
        return found

    def lists(self) -> dict[str, str]:
        """Return the overview of the reading lists and a view of each."""
        path = "lists/index.md"
        found = {path: self._render("lists.md", overview("Reading lists", _NO_SIDEBARS), path)}
        for key, reading_list in self.survey.vocabulary.lists.items():
            path = f"lists/{key}.md"
            meta = overview(reading_list.title, _NO_NAVIGATION)
            view = lists.ListView(Page(path, self.survey), reading_list)
            found[path] = self._render("list.md", meta, path, reading_list=reading_list, view=view)
        return found

    def implementations(self) -> str:
        """Return the page of all methods that run, and of the works that wait for one."""
        wanted = [record for record in self.survey.newest_first if record.id not in self.survey.sources]
        meta = overview("Implementations", _NO_NAVIGATION)
        few = len(wanted) <= WHOLE_SURVEY
        compared = families.families(self.survey).values()
        return self._render("implementations.md", meta, "implementations.md", wanted=wanted, few=few, families=compared)

    def family_pages(self) -> dict[str, str]:
        """Return a page for each family whose methods can be compared under one budget."""
        found = {}
        for key, family in families.families(self.survey).items():
            path = f"families/{key}.md"
            meta = overview(family.title, _NO_SIDEBARS)
            found[path] = self._render("family.md", meta, path, family=family, mean=statistics.fmean)
        return found

    def hardware(self) -> dict[str, str]:
        """Return the overview of all designs for the FPGA, and a page for each."""
        by_network, path = designs.designs(self.survey), "fpga.md"
        found = {path: self._render("fpga.md", overview("FPGA", _NO_SIDEBARS), path, by_network=by_network)}
        for members in by_network.values():
            for design in members:
                meta = overview(design.title, _NO_NAVIGATION)
                found[design.page] = self._render("design.md", meta, design.page, design=design)
        return found

    def downloads(self) -> dict[str, bytes]:
        """Return the files that the pages lead to, by path below the folder of pages."""
        found: dict[str, bytes] = {}
        for members in designs.designs(self.survey).values():
            for design in members:
                found |= design.downloads()
        return found

    def vocabulary(self) -> str:
        """Return the page that explains tags, topics and venues."""
        return self._render("vocabulary.md", overview("Vocabulary"), "vocabulary.md")

    def paper(self, record: Record) -> str:
        """Return the page of one record."""
        source = self.survey.sources.get(record.id)
        text, code = ("", "") if source is None else docstring.split_source(source.text)
        return self._render(
            "paper.md",
            front_matter(self.survey, record),
            f"papers/{record.id}.md",
            record=record,
            source=source,
            explanation=docstring.docstring_markdown(text),
            code=code,
            result=self.survey.results.get(record.id),
            hardware=designs.designs_of(self.survey, record),
            bibtex=to_bibtex.dump([Entry.of(record, self.survey.vocabulary.venues[record.venue].name)]),
        )

    def _render(self, template: str, meta: Mapping[str, Any], path: str, **values: object) -> str:
        shared = {
            "page": Page(path, self.survey),
            "survey": self.survey,
            "words": self.survey.vocabulary,
            "facts": facts,
            "claims": claims,
            "designs": designs,
            "markdown": markdown,
            "venue_anchor": venue_anchor,
        }
        return with_front_matter(meta, self.engine.get_template(f"{template}.j2").render(shared | values))
