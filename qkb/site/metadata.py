"""What a paper page tells machines: citation tags for reference managers, JSON-LD, facets for the search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qkb.site.facts import places, short_authors
from qkb.site.markdown import plain, visible

if TYPE_CHECKING:
    from qkb.records.model import Record
    from qkb.site.survey import Survey

_SCHEMA_TYPES = {
    "thesis": "Thesis",
    "report": "Report",
    "blog": "BlogPosting",
    "software": "SoftwareSourceCode",
    "book": "Book",
}
_PUBLISHED_IN = {
    "conference": "citation_conference_title",
    "workshop": "citation_conference_title",
    "journal": "citation_journal_title",
    "thesis": "citation_dissertation_institution",
    "report": "citation_technical_report_institution",
}


def citation_tags(record: Record, venue: str) -> list[list[str]]:
    """Return name and content of the `citation_*` tags that reference managers read."""
    tags = [["citation_title", record.title]]
    tags += [["citation_author", author] for author in record.authors]
    tags.append(["citation_publication_date", str(record.year)])
    if record.kind in _PUBLISHED_IN:
        tags.append([_PUBLISHED_IN[record.kind], venue])
    if record.pages:
        first, _, last = record.pages.partition("-")
        tags.append(["citation_firstpage", first])
        tags += [["citation_lastpage", last]] if last else []
    if record.links.doi:
        tags.append(["citation_doi", record.links.doi])
    if record.links.arxiv:
        tags.append(["citation_arxiv_id", record.links.arxiv])
    if record.links.pdf:
        tags.append(["citation_pdf_url", record.links.pdf])
    return [[name, visible(content)] for name, content in tags]


def json_ld(record: Record, venue: str) -> dict[str, Any]:
    """Return the record in schema.org's vocabulary."""
    data: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": _SCHEMA_TYPES.get(record.kind, "ScholarlyArticle"),
        "name": record.title,
        "author": [{"@type": "Person", "name": author} for author in record.authors],
        "datePublished": str(record.year),
        "isPartOf": {"@type": "CreativeWork", "name": venue},
        "sameAs": list(places(record).values()),
        "keywords": [*record.tags, *record.topics],
    }
    if record.pages:
        data["pagination"] = record.pages
    if record.links.doi:
        data["identifier"] = f"doi:{record.links.doi}"
    return data


def facets(survey: Survey, record: Record) -> dict[str, list[str]]:
    """Return what the search can narrow by, with the names that readers see."""
    words = survey.vocabulary
    return {
        "year": [str(record.year)],
        "tag": [words.tags[tag].name for tag in record.tags],
        "topic": [words.topics[topic].name for topic in record.topics],
        "venue": [record.venue],
        "kind": [record.kind],
        "implementation": ["runs" if record.id in survey.sources else "wanted"],
    }


def front_matter(survey: Survey, record: Record) -> dict[str, Any]:
    """Return the front matter of a paper's page."""
    venue = survey.vocabulary.venues[record.venue].name
    return {
        "title": plain(record.title),
        "description": plain(f"{short_authors(record)}, {record.venue} {record.year}: claims beside measurements"),
        "hide": ["navigation"],
        "qkb": {
            "facets": facets(survey, record),
            "shown": {"authors": short_authors(record), "published": f"{record.venue} {record.year}"},
            "citation": citation_tags(record, venue),
            "jsonld": json_ld(record, venue),
        },
    }
