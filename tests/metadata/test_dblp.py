from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkb.metadata import dblp
from qkb.metadata.http import Client
from qkb.metadata.work import Work

TITLE = "FabNet: Binary Filters Made of Nothing"
ANSWER = json.loads((Path(__file__).parent / "data" / "dblp.json").read_text(encoding="utf-8"))
KEYS = ["result", "hits", "hit", "info", "authors", "author", "text", "title", "venue", "ee", "doi", "year", "pages"]
ANY = st.recursive(
    st.none() | st.integers() | st.sampled_from(["javascript:x", "https://a.example/x", "10.1000/x", "2016"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
)


class Frozen(Client):
    def _ask(self, url: str) -> tuple[int, bytes, str | None]:
        assert url.startswith("https://dblp.org/search/publ/api?q=FabNet+Binary")
        return 200, json.dumps(ANSWER).encode(), None


def test_publications_of_the_title() -> None:
    assert dblp.ask(TITLE, Frozen()) == [
        Work("DBLP", TITLE, ("Ada Lind", "Bo Ruíz"), (2017,), venue="CoRR", kind="Informal and Other Publications",
             arxiv="1701.00042"),
        Work("DBLP", TITLE, ("Ada Lind", "Bo Ruíz"), (2018,), venue="FabConf", kind="Conference and Workshop Papers",
             pages="12-20", url="https://fabconf.example/2018/fabnet.html"),
    ]  # fmt: skip


def test_one_author_is_no_list() -> None:
    assert dblp.read(ANSWER)[0].authors == ("Dee Moss",)


def test_a_title_without_words_is_not_asked_for() -> None:
    assert dblp.ask("?!", Frozen()) == []


@pytest.mark.parametrize("ee", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", ["ftp://a.example/x"]])
def test_links_lead_to_the_web(ee: object) -> None:
    hit = {"info": {"title": "x", "ee": ee}}
    assert dblp.read({"result": {"hits": {"hit": [hit]}}})[0].url == ""


@given(st.dictionaries(st.just("result"), ANY))
def test_any_json_is_read(answer: dict[str, Any]) -> None:
    for work in dblp.read(answer):
        assert work.title
        assert "javascript" not in work.url
