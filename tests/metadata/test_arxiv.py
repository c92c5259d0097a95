from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.metadata import arxiv
from qkb.metadata.http import NoAnswerError
from qkb.metadata.work import Work

if TYPE_CHECKING:
    from tests.metadata.conftest import Registry

FEED = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>query</title>
  <entry><id>http://arxiv.org/abs/1601.00001v3</id><updated>2017-02-01T00:00:00Z</updated>
    <published>2016-01-04T00:00:00Z</published><title>Tiny  Sign:
    One &amp; Two</title><author><name>Ada Lind</name></author><author><name>Bo Ru&#237;z</name></author>
    <arxiv:doi xmlns:arxiv="http://arxiv.org/schemas/atom">10.5555/x</arxiv:doi></entry>
  <entry><id>http://arxiv.org/api/errors#incorrect</id><title>Error</title></entry>
</feed>"""


def test_works_by_identifier_without_version(registry: Registry) -> None:
    registry.answers["/arxiv"] = (200, FEED)
    found = arxiv.ask(["1601.00001", "1601.99999"], registry.client())
    assert found == {
        "1601.00001": Work(
            "arXiv", "Tiny Sign: One & Two", ("Ada Lind", "Bo Ruíz"), (2016, 2017), doi="10.5555/x", kind="preprint"
        )
    }
    assert registry.asked == ["/arxiv?id_list=1601.00001,1601.99999&max_results=2"]


def test_many_are_asked_in_few_questions(registry: Registry) -> None:
    registry.answers["/arxiv"] = (200, FEED)
    assert len(arxiv.ask([f"1601.{number:05}" for number in range(120)], registry.client())) == 1
    assert len(registry.asked) == 3
    assert arxiv.ask([], registry.client()) == {}


@pytest.mark.parametrize(
    "body",
    ["<html></html>", "no", "<feed>", "\x00", "<!DOCTYPE a [<!ENTITY b 'c'>]><feed/>",
     "<?xml version='1.0' encoding='x-y'?><feed/>"],
)  # fmt: skip
def test_what_is_no_feed(registry: Registry, body: str) -> None:
    registry.answers["/arxiv"] = (200, body)
    with pytest.raises(NoAnswerError, match="arXiv gives no sensible answer"):
        arxiv.ask(["1601.00001"], registry.client())
