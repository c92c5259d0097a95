from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from qkb.links.history import DAY, FILE, HOUR, History, Known, Period
from qkb.links.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://a.example/x"


def test_the_past_is_kept_in_periods(tmp_path: Path) -> None:
    dead = Outcome(URL, "dead", "answers 404", 404, URL)
    with History(tmp_path) as history:
        assert history.known(URL) is None
        for moment, outcome in enumerate([Outcome(URL, "ok", "", 200, URL)] * 3 + [dead] * 2, 1):
            history.keep(outcome, float(moment))
    with History(tmp_path) as history:
        assert history.known(URL) == Known("dead", "answers 404", 404, URL, "", 5.0, 4.0, 3.0)
        assert history.periods(URL) == [
            Period(1.0, 3.0, 3, "ok", "", 200),
            Period(4.0, 5.0, 2, "dead", "answers 404", 404),
        ]


def test_another_reason_is_another_period_but_not_another_beginning(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        history.keep(Outcome(URL, "unknown", "answers 403", 403), 1.0)
        history.keep(Outcome(URL, "unknown", "answers 429", 429), 2.0)
        known = history.known(URL)
        assert known is not None
        assert (known.since, known.asked, known.good) == (1.0, 2.0, None)
        assert [period.reason for period in history.periods(URL)] == ["answers 403", "answers 429"]


@pytest.mark.parametrize(
    ("status", "age", "stale"),
    [("ok", 6 * DAY, False), ("ok", 7 * DAY, True), ("moved", 6 * DAY, False), ("dead", 23 * HOUR, False),
     ("dead", DAY, True), ("anchor", DAY, True), ("refused", DAY, True), ("unknown", HOUR, True),
     ("unknown", HOUR - 1, False), ("ok", -1.0, True)],
)  # fmt: skip
def test_what_may_have_changed_is_asked_sooner(status: str, age: float, stale: bool) -> None:
    known = Known(status, "", None, "", "", 1000.0, 1000.0, None)  # type: ignore[arg-type]
    assert known.is_stale(1000.0 + age, 7 * DAY) == stale


def test_without_a_folder_the_answers_stay_in_memory() -> None:
    told: list[str] = []
    with History(None, told.append) as history:
        history.keep(Outcome(URL, "ok"), 1.0)
        assert history.known(URL) is not None
    assert told == ["no folder for caches can be written: what the links answer is not kept"]


def test_a_file_of_another_version_is_put_aside(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("PRAGMA user_version = 99")
    told: list[str] = []
    with History(tmp_path, told.append) as history:
        assert history.known(URL) is None
    assert told == [
        f"{FILE} cannot be read (it has version 99, not 1): it is now {FILE}.broken, and all links are asked again"
    ]


def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    with History(tmp_path, told.append) as history:
        with closing(sqlite3.connect(tmp_path / FILE)) as database:
            database.execute("DROP TABLE history")
        for moment in range(3):
            history.keep(Outcome(URL, "ok"), float(moment))
        assert history.known(URL) is None
    assert len(told) == 1
    assert "answers of this run are not kept" in told[0]
