from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from qkb.metadata import openreview
from qkb.metadata.http import NoAnswerError
from qkb.metadata.work import Work

if TYPE_CHECKING:
    from tests.metadata.conftest import Registry

NEW = {"notes": [{"id": "abc", "cdate": 1475280000000, "pdate": 1486900000000,
                  "content": {"title": {"value": "Tiny Sign"}, "authors": {"value": ["Ada Lind"]},
                              "venue": {"value": "ICLR"}}}]}  # fmt: skip
OLD = {"notes": [{"id": "reply", "content": {}}, {"id": "abc", "tcdate": 1475280000000,
                  "content": {"title": "Tiny Sign", "authors": ["Ada Lind", 3]}}]}  # fmt: skip


def test_the_second_api(registry: Registry) -> None:
    registry.answers["/api2?abc"] = (200, json.dumps(NEW))
    found = openreview.ask("abc", registry.client())
    assert found == Work("OpenReview", "Tiny Sign", ("Ada Lind",), (2017, 2016), venue="ICLR")
    assert registry.asked == ["/api2?id=abc"]


@pytest.mark.parametrize("first", [(404, ""), (200, '{"notes": []}'), (403, "")])
def test_what_it_does_not_know_the_first_one_may(registry: Registry, first: tuple[int, str | bytes]) -> None:
    registry.answers.update({"/api2?abc": first, "/api1?abc": (200, json.dumps(OLD))})
    found = openreview.ask("abc", registry.client())
    assert found == Work("OpenReview", "Tiny Sign", ("Ada Lind",), (2016,))


def test_nobody_knows_it(registry: Registry) -> None:
    assert openreview.ask("abc", registry.client()) is None


def test_trouble_is_not_taken_for_ignorance(registry: Registry) -> None:
    registry.answers["/api2?abc"] = (403, "")
    with pytest.raises(NoAnswerError, match="answers 403"):
        openreview.ask("abc", registry.client())


@pytest.mark.parametrize(
    ("printed", "venue"),
    [("ICLR 2020 Poster", "ICLR"), ("NeurIPS 2021 Spotlight", "NeurIPS"), ("ICLR 2023 notable top 5%", "ICLR"),
     ("Submitted to ICLR 2020", ""), ("ICLR 2020 Conference Withdrawn Submission", ""), ("", "")],
)  # fmt: skip
def test_only_what_was_accepted_has_a_venue(printed: str, venue: str) -> None:
    found, notice = openreview.decision(printed)
    assert found == venue
    assert bool(notice) == (printed != "" and venue == "")
