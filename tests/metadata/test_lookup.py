from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qkb.imports.work import Work
from qkb.metadata import arxiv
from qkb.metadata.http import Client, NoAnswerError
from qkb.metadata.lookup import Answer, fullest, join, kind_of, look_up
from qkb.metadata.work import Work as Told

DATA = Path(__file__).parent / "data"
TITLE = "FabNet: Binary Filters Made of Nothing"
PEOPLE = ("Ada Lind", "Bo Ruíz")
DOWN = (0, b"cannot be asked", None)


def frozen(name: str) -> tuple[int, bytes, str | None]:
    return 200, (DATA / name).read_bytes(), None


@dataclass
class Frozen(Client):
    """Registries whose answers stand in files; what is not named is not known."""

    retries: int = 0
    delays: dict[str, float] = field(default_factory=dict)
    answers: dict[str, tuple[int, bytes, str | None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def _ask(self, url: str) -> tuple[int, bytes, str | None]:
        self.asked.append(url.split("/")[2])
        return next((answer for start, answer in self.answers.items() if start in url), (404, b"", None))


ALL = {
    "export.arxiv.org": frozen("arxiv.xml"), "crossref": frozen("crossref.json"), "dblp": frozen("dblp.json"),
    "semanticscholar": frozen("semantic-scholar.json"), "api2.openreview": frozen("openreview-2.json"),
    "api.openreview": frozen("openreview-1.json"), "datacite": frozen("datacite.json"),
}  # fmt: skip


def asked(given: Work, **answers: Any) -> tuple[Answer, list[str]]:
    client = Frozen(answers=answers)
    return look_up(given, client), client.asked


def test_a_preprint_with_its_publication() -> None:
    answer, hosts = asked(Work(arxiv="1701.00042"), **ALL)
    assert answer.work == Work(
        title=TITLE, authors=PEOPLE, year=2018, venue="Made-up Vision – FabConf 2018", kind="conference",
        pages="12-20", arxiv="1701.00042", doi="10.5555/fab.42",
    )  # fmt: skip
    assert answer.sources == ("Crossref", "arXiv")
    assert (answer.told, answer.reached) == ((), True)
    assert hosts == ["export.arxiv.org", "api.crossref.org"]


def test_dblp_tells_where_a_preprint_without_doi_was_printed() -> None:
    feed = ALL["export.arxiv.org"][1].replace(b"10.5555/fab.42", b"")
    answer, _ = asked(Work(arxiv="1701.00042"), **{**ALL, "export.arxiv.org": (200, feed, None)})
    assert (answer.work.venue, answer.work.year, answer.work.pages) == ("FabConf", 2018, "12-20")
    assert answer.work.url == "https://fabconf.example/2018/fabnet.html"


def test_a_preprint_alone() -> None:
    feed = ALL["export.arxiv.org"][1].replace(b"10.5555/fab.42", b"")
    answer, _ = asked(Work(arxiv="1701.00042"), **{"export.arxiv.org": (200, feed, None)})
    assert (answer.work.venue, answer.work.kind, answer.work.year) == ("arXiv", "preprint", 2017)


def test_a_doi_with_its_preprint() -> None:
    answer, hosts = asked(Work(doi="10.5555/fab.42"), **ALL)
    assert (answer.work.arxiv, answer.work.authors) == ("1701.00042", PEOPLE)  # Crossref has initials
    assert hosts == ["api.crossref.org", "api.semanticscholar.org"]


@pytest.mark.parametrize(("name", "venue", "year"), [("FabForum2", "FABCONF", 2018), ("FabForum1", "FabConf", 2018)])
def test_both_shapes_of_openreview(name: str, venue: str, year: int) -> None:
    answer, _ = asked(Work(openreview=name), **ALL)
    assert (answer.work.title, answer.work.authors) == (TITLE, PEOPLE)
    assert (answer.work.venue, answer.work.year) == (venue, year)


def test_what_is_not_accepted_has_no_venue_there() -> None:
    note = ALL["api2.openreview"][1].replace(b"FABCONF 2018 Poster", b"Submitted to FABCONF 2018")
    answer, _ = asked(Work(openreview="FabForum2"), **{"api2.openreview": (200, note, None)})
    assert answer.work.venue == ""
    assert answer.told == ("OpenReview: the paper is marked 'Submitted to FABCONF 2018'",)


def test_datacite_and_semantic_scholar_stand_in_for_arxiv() -> None:
    answer, _ = asked(Work(arxiv="1701.00042"), **{**ALL, "export.arxiv.org": (503, b"", None)})
    assert answer.sources == ("DataCite", "DBLP")
    assert (answer.work.title, answer.work.venue) == (TITLE, "FabConf")
    assert answer.told == ("export.arxiv.org answers 503",)
    answer, _ = asked(Work(arxiv="1701.00042"), semanticscholar=ALL["semanticscholar"])
    assert (answer.sources, answer.work.doi) == (("Semantic Scholar",), "10.5555/fab.42")


def test_a_doi_of_another_work_is_left_out() -> None:
    other = json.loads(ALL["crossref"][1])
    other["message"]["title"] = ["Cooking with Gas"]
    answer, _ = asked(Work(arxiv="1701.00042"), **{**ALL, "crossref": (200, json.dumps(other).encode(), None)})
    assert answer.work.doi == ""
    assert "Cooking with Gas" in answer.told[0]


def test_a_given_title_tells_a_wrong_identifier() -> None:
    answer, _ = asked(Work(title="Cooking with Gas", arxiv="1701.00042"), **ALL)
    assert answer.work.authors == ()
    assert any("arXiv has another title behind the identifier" in told for told in answer.told)


def test_what_is_given_stays() -> None:
    given = Work(title=TITLE, authors=("Ada M. Lind",), year=2019, venue="FABJ", arxiv="1701.00042")
    answer, _ = asked(given, **ALL)
    assert (answer.work.authors, answer.work.year, answer.work.venue) == (("Ada M. Lind",), 2019, "FABJ")


def test_without_network_two_questions_are_enough() -> None:
    answer, hosts = asked(Work(arxiv="1701.00042"), **dict.fromkeys(["arxiv", "datacite", "semantic", "dblp"], DOWN))
    assert answer.work == Work(arxiv="1701.00042")
    assert not answer.reached
    assert len(hosts) == 2


def test_offline_nobody_is_asked() -> None:
    client = Frozen(answers=ALL, offline=True)
    assert not look_up(Work(arxiv="1701.00042", doi="10.5555/fab.42"), client).reached
    assert client.asked == []


def test_offline_earlier_answers_serve(tmp_path: Path) -> None:
    look_up(Work(arxiv="1701.00042"), Frozen(answers=ALL, cache=tmp_path))
    client = Frozen(answers=ALL, cache=tmp_path, offline=True)
    assert look_up(Work(arxiv="1701.00042"), client).work.title == TITLE
    assert client.asked == []


def test_hostile_xml_is_no_answer() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + ALL["export.arxiv.org"][1]
    with pytest.raises(NoAnswerError):
        arxiv.read(bomb)


def test_kinds() -> None:
    assert kind_of(Told("DBLP", "x", venue="CVPR Workshops", kind="Conference and Workshop Papers")) == "workshop"
    assert kind_of(Told("Crossref", "x", kind="journal-article")) == "journal"
    assert kind_of(Told("Crossref", "x", kind="surprise")) == ""


def test_full_names_are_of_the_same_people() -> None:
    assert fullest(["A. Lind", "B. Ruiz"], [["Bo Ruiz", "Ada Lind"], ["Ada Lund", "Bo Ruiz"]]) == ("A. Lind", "B. Ruiz")
    assert fullest((), []) == ()


def test_a_subtitle_is_not_said_twice() -> None:
    for title, subtitle in (("FabNet", "Made of Bits"), ("FabNet: Made of Bits", "Made of bits")):
        assert join(Work(), [Told("Crossref", title, subtitle=subtitle)]).title == "FabNet: Made of Bits"
