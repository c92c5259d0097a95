from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.metadata import semantic_scholar
from qkb.metadata.http import Bases
from qkb.metadata.work import Work

if TYPE_CHECKING:
    from tests.metadata.conftest import Registry

ANSWER = (Path(__file__).parent / "data" / "semantic-scholar.json").read_text(encoding="utf-8")


def test_a_work_and_its_preprint(registry: Registry) -> None:
    registry.answers["/s2/DOI:10.5555/fab.42"] = (200, ANSWER)
    client = registry.client()
    client.bases = Bases(semantic_scholar=f"{registry.base}/s2/")
    assert semantic_scholar.ask("DOI:10.5555/fab.42", client) == Work(
        "Semantic Scholar", "FabNet: Binary Filters Made of Nothing", ("Ada Lind", "Bo Ruíz"), (2018,),
        venue="Fabricated Conference on Networks", doi="10.5555/fab.42", kind="Conference", arxiv="1701.00042",
    )  # fmt: skip
    assert registry.asked == ["/s2/DOI:10.5555/fab.42?fields=title,authors,year,venue,externalIds,publicationTypes"]
    assert semantic_scholar.ask("ARXIV:1701.99999", client) is None


@pytest.mark.parametrize(
    "answer",
    [{}, {"authors": "x", "externalIds": [], "publicationTypes": "x", "title": 3, "year": "soon"},
     {"authors": [3, {"name": None}], "externalIds": {"ArXiv": "../../x", "DOI": "javascript:x"}},
     {"publicationTypes": ["Conference", "JournalArticle"]}],
)  # fmt: skip
def test_what_makes_no_sense_is_nothing(answer: dict[str, object]) -> None:
    assert json.loads(json.dumps(answer)) == answer
    assert semantic_scholar.read(answer) == Work("Semantic Scholar", "")
