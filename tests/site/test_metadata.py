from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.site.metadata import citation_tags, facets, front_matter, json_ld

if TYPE_CHECKING:
    from qkb.site.survey import Survey


def test_citation_tags(survey: Survey) -> None:
    assert citation_tags(survey.records["tiny-sign"], "Fabricated Conference") == [
        ["citation_title", "Tiny Sign: Networks with One-Bit Weights"],
        ["citation_author", "Ada Lind"],
        ["citation_author", "Bo Ruiz"],
        ["citation_publication_date", "2015"],
        ["citation_conference_title", "Fabricated Conference"],
        ["citation_firstpage", "12"],
        ["citation_lastpage", "20"],
        ["citation_arxiv_id", "1511.00001"],
    ]


def test_a_journal_article_with_one_page_and_a_copy(survey: Survey) -> None:
    record = survey.records["scaled-sign"]
    links = record.links.model_copy(update={"pdf": "https://x.example/a.pdf"})
    tags = citation_tags(record.model_copy(update={"pages": "7", "links": links}), "Journal")
    assert ["citation_journal_title", "Journal"] in tags
    assert ["citation_firstpage", "7"] in tags
    assert ["citation_doi", "10.5555/scaled.sign"] in tags
    assert ["citation_pdf_url", "https://x.example/a.pdf"] in tags
    assert not [name for name, _ in tags if name == "citation_lastpage"]


def test_a_preprint_names_no_venue(survey: Survey) -> None:
    names = {name for name, _ in citation_tags(survey.records["wide-steps"], "arXiv preprint")}
    assert names == {"citation_title", "citation_author", "citation_publication_date", "citation_arxiv_id"}


@pytest.mark.parametrize(
    ("kind", "kind_of_thing"),
    [("conference", "ScholarlyArticle"), ("software", "SoftwareSourceCode"), ("blog", "BlogPosting"), ("book", "Book")],
)
def test_json_ld(survey: Survey, kind: str, kind_of_thing: str) -> None:
    data = json_ld(survey.records["scaled-sign"].model_copy(update={"kind": kind}), "Journal")
    assert data == {
        "@context": "https://schema.org",
        "@type": kind_of_thing,
        "name": "Scaled Sign Networks",
        "author": [{"@type": "Person", "name": "Chen Ode"}, {"@type": "Person", "name": "Ada Lind"}],
        "datePublished": "2016",
        "isPartOf": {"@type": "CreativeWork", "name": "Journal"},
        "sameAs": ["https://doi.org/10.5555/scaled.sign", "https://journal.example/scaled-sign"],
        "keywords": ["bnn", "hardware", "scaling-factors"],
        "identifier": "doi:10.5555/scaled.sign",
    }


def test_facets_say_whether_it_runs(survey: Survey) -> None:
    assert facets(survey, survey.records["scaled-sign"]) == {
        "year": ["2016"],
        "tag": ["Binarized neural networks", "Hardware deployment"],
        "topic": ["Scaling factors"],
        "venue": ["FABJ"],
        "kind": ["journal"],
        "implementation": ["runs"],
    }
    assert facets(survey, survey.records["wide-steps"])["implementation"] == ["wanted"]


def test_the_theme_prints_the_title_as_it_is_so_it_is_escaped(survey: Survey) -> None:
    record = survey.records["tiny-sign"].model_copy(update={"title": "</title><script>"})
    assert front_matter(survey, record)["title"] == "&lt;/title&gt;&lt;script&gt;"
