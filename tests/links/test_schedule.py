from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from qkb.links.job import Job
from qkb.links.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from qkb.links.job import Settings


def jobs(*urls: str) -> list[Job]:
    return [Job(f"https://{url}") for url in urls]


def taken(schedule: Schedule) -> str:
    turn = schedule.next()
    assert turn is not None
    return turn[0].url.removeprefix("https://")


def test_hosts_take_turns_and_the_end_is_none(quick: Callable[..., Settings]) -> None:
    schedule = Schedule(jobs("a.example/1", "a.example/2", "b.example/1"), quick())
    assert [taken(schedule), taken(schedule)] == ["a.example/1", "b.example/1"]
    schedule.done("a.example")
    schedule.done("b.example")
    assert taken(schedule) == "a.example/2"
    schedule.done("a.example")
    assert schedule.next() is None


def test_what_has_begun_is_finished_first(quick: Callable[..., Settings]) -> None:
    schedule = Schedule(jobs("a.example/1", "a.example/2"), quick())
    turn = schedule.next()
    assert turn is not None
    schedule.done("a.example", turn[0])
    assert taken(schedule) == "a.example/1"


def test_a_link_that_waits_lets_others_of_its_host_pass(quick: Callable[..., Settings]) -> None:
    schedule = Schedule(jobs("a.example/1", "a.example/2"), quick())
    turn = schedule.next()
    assert turn is not None
    started = time.monotonic()
    schedule.done("a.example", turn[0], 0.2)
    assert taken(schedule) == "a.example/2"
    schedule.done("a.example")
    assert taken(schedule) == "a.example/1"
    assert time.monotonic() - started >= 0.2


def test_a_host_that_waits_lets_none_of_its_links_pass(quick: Callable[..., Settings]) -> None:
    schedule = Schedule(jobs("a.example/1", "a.example/2", "b.example/1"), quick())
    turn = schedule.next()
    assert turn is not None
    started = time.monotonic()
    schedule.done("a.example", turn[0], 0.2, whole_host=True)
    assert taken(schedule) == "b.example/1"
    assert taken(schedule).startswith("a.example")
    assert time.monotonic() - started >= 0.2


def test_hosts_that_ask_for_more_distance_get_it(quick: Callable[..., Settings]) -> None:
    schedule = Schedule(jobs("slow.example/1", "slow.example/2"), quick(delays={"slow.example": 0.2}))
    started = time.monotonic()
    taken(schedule)
    schedule.done("slow.example")
    taken(schedule)
    assert time.monotonic() - started >= 0.2


def test_a_stop_wakes_everybody(quick: Callable[..., Settings]) -> None:
    schedule = Schedule(jobs("a.example/1", "a.example/2"), quick())
    taken(schedule)
    got: list[object] = []
    waiting = [threading.Thread(target=lambda: got.append(schedule.next())) for _ in range(3)]
    for thread in waiting:
        thread.start()
    schedule.stop()
    for thread in waiting:
        thread.join(5)
    assert got == [None] * 3
    assert schedule.stopped
