from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkb.metadata import crossref, openreview
from qkb.metadata.http import NoAnswerError
from qkb.metadata.work import Work

if TYPE_CHECKING:
    from tests.metadata.conftest import Registry

ARTICLE = {"message": {
    "DOI": "10.5555/a(b)c", "type": "journal-article", "title": ["Tiny <i>Sign</i> &amp; Co"], "subtitle": ["A Study"],
    "author": [{"given": "Ada", "family": "Lind", "suffix": "Jr."}, {"name": "The Group"}, {}],
    "published-online": {"date-parts": [[2015, 12, 3]]}, "issued": {"date-parts": [[2015]]},
    "published-print": {"date-parts": [[2016, 1]]}, "container-title": ["Journal of Bits"],
}}  # fmt: skip
DATASET = {"data": {"attributes": {
    "doi": "10.48550/arxiv.1601.1", "titles": [{"title": "A sub", "titleType": "Subtitle"}, {"title": "Tiny Sign"}],
    "creators": [{"name": "Lind, Ada", "nameType": "Personal"}, {"givenName": "Bo", "familyName": "Ruiz", "name": "x"},
                 {"name": "Lab, The", "nameType": "Organizational"}],
    "publicationYear": 2016,
    "dates": [{"date": "2015-12-31", "dateType": "Submitted"}, {"date": "2020", "dateType": "Updated"}],
    "publisher": "arXiv", "types": {"resourceTypeGeneral": "Preprint"},
}}}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["message", "title", "author", "issued", "date-parts", "family", "data", "attributes", "titles",
                         "creators", "dates", "notes", "content", "id", "authors", "value", "cdate"]), inner, max_size=4
    ),
)  # fmt: skip


def test_an_article(registry: Registry) -> None:
    registry.answers["/crossref/10.5555/a(b)c"] = (200, json.dumps(ARTICLE))
    assert crossref.ask("10.5555/a(b)c", registry.client()) == Work(
        "Crossref", "Tiny Sign & Co", ("Ada Lind Jr.", "The Group"), (2016, 2015), "A Study", "Journal of Bits",
        "10.5555/a(b)c", "journal-article",
    )  # fmt: skip


def test_what_crossref_does_not_know_datacite_may(registry: Registry) -> None:
    registry.answers["/datacite/10.5555/x"] = (200, json.dumps(DATASET))
    assert crossref.ask("10.5555/x", registry.client()) == Work(
        "DataCite", "Tiny Sign", ("Ada Lind", "Bo Ruiz", "Lab, The"), (2016, 2015), "A sub", "arXiv",
        "10.48550/arxiv.1601.1", "Preprint",
    )  # fmt: skip
    assert registry.asked == ["/crossref/10.5555/x", "/datacite/10.5555/x"]


def test_prefixes_of_datacite_are_asked_there_first(registry: Registry) -> None:
    registry.answers["/datacite/10.48550/x"] = (200, json.dumps(DATASET))
    assert crossref.ask("10.48550/x", registry.client()) is not None
    assert registry.asked == ["/datacite/10.48550/x"]


def test_nobody_knows_it(registry: Registry) -> None:
    assert crossref.ask("10.5555/x", registry.client()) is None


def test_trouble_is_not_taken_for_ignorance(registry: Registry) -> None:
    registry.answers["/crossref/10.5555/x"] = (403, "")
    with pytest.raises(NoAnswerError):
        crossref.ask("10.5555/x", registry.client())


@given(st.dictionaries(st.sampled_from(["message", "data", "notes"]), JSON))
def test_any_json_is_read(answer: dict[str, Any]) -> None:
    assert crossref.read(answer).source == "Crossref"
    assert crossref.read_datacite(answer).source == "DataCite"
    found = openreview.read(answer, "x")
    assert found is None or found.source == "OpenReview"


def test_a_volume_counts_more_than_its_series() -> None:
    found = crossref.read({"message": {"container-title": ["Notes in Series", "Vision 2016"], "page": "525-542"}})
    assert (found.venue, found.pages) == ("Vision 2016", "525-542")
