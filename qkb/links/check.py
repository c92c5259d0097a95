"""Asks for the links whose answers are old, by several threads, and keeps every answer at once."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qkb.links.job import Job
from qkb.links.outcome import Outcome, Wait
from qkb.links.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qkb.links.ask import Asker
    from qkb.links.history import History


@dataclass(frozen=True)
class Done:
    """What a run has done.

    Args:
        asked: how many links it asked for.
        lost: how many of them could not be asked, since no name at all could be looked up; nothing is kept of these.
    """

    asked: int
    lost: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a run is: answers so far, links to ask, and the last answer."""

    done: int
    total: int
    last: Outcome | None = None


def stale(urls: Iterable[str], history: History, max_age: float, now: float) -> list[str]:
    """Return the addresses to ask, each once: those never asked, and those asked longer ago than `max_age` seconds."""
    found = []
    for url in dict.fromkeys(urls):
        known = history.known(url)
        if known is None or known.is_stale(now, max_age):
            found.append(url)
    return found


def check(
    urls: Iterable[str],
    asker: Asker,
    history: History,
    report: Callable[[Progress], None] | None = None,
) -> Done:
    """Ask for links and keep the answers.

    An interrupt (KeyboardInterrupt) ends the run within moments: connections are cut, answers that arrived are kept.

    Args:
        urls: the addresses, each once.
        asker: asks.
        history: keeps the answers.
        report: called in this thread at the beginning and after each answer.
    """
    jobs = [Job(url) for url in urls]
    schedule = Schedule(jobs, asker.settings)
    keeper = _Keeper(history, asker, report, len(jobs))
    answers: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
    arguments = (schedule, asker, history, time.time(), answers)
    for _ in range(min(asker.settings.workers, len(jobs))):
        threading.Thread(target=_work, args=arguments, daemon=True).start()
    try:
        keeper.begin()
        while keeper.done < len(jobs):
            try:
                answer = answers.get(timeout=0.5)  # signals are heard in between
            except queue.Empty:
                continue
            if isinstance(answer, BaseException):
                raise answer
            keeper.take(answer)
    finally:
        schedule.stop()
        asker.close()
        keeper.end()
    return Done(keeper.asked, keeper.lost)


class _Keeper:
    """Counts answers; holds back those that may only say that this machine finds no host at all."""

    def __init__(self, history: History, asker: Asker, report: Callable[[Progress], None] | None, total: int) -> None:
        self._history = history
        self._asker = asker
        self._report = report or (lambda _: None)
        self._total = total
        self._doubtful: list[Outcome] = []
        self.done = 0
        self.asked = 0
        self.lost = 0

    def begin(self) -> None:
        self._report(Progress(0, self._total))

    def take(self, answer: Outcome | None) -> None:
        """Count an answer that is kept or held back; None is a link that another run has asked."""
        self.done += 1
        if answer is not None:
            self.asked += 1
            if answer.doubtful:
                self._doubtful.append(answer)
        self._report(Progress(self.done, self._total, answer))

    def end(self) -> None:
        """Decide on what was held back."""
        if not self._asker.network.resolver.works:
            self.lost = len(self._doubtful)
            return
        for outcome in self._doubtful:
            self._history.keep(outcome, time.time())


def _work(
    schedule: Schedule,
    asker: Asker,
    history: History,
    started: float,
    answers: queue.SimpleQueue[Outcome | BaseException | None],
) -> None:
    """Ask for one link after another; None as an answer means that another run has asked in the meantime."""
    try:
        while (turn := schedule.next()) is not None:
            job, host = turn
            if not job.seen and not job.tries and _answered(job.url, history, started):
                schedule.done(host)
                answers.put(None)
                continue
            verdict = asker.step(job)
            if isinstance(verdict, Wait):
                schedule.done(host, job, verdict.seconds, whole_host=verdict.whole_host)
            elif not schedule.stopped:  # what was cut off at the end of a run says nothing about a link
                if not verdict.doubtful:
                    history.keep(verdict, time.time())
                schedule.done(host)
                answers.put(verdict)
    except BaseException as error:  # noqa: BLE001 (the thread that waits raises it again)
        answers.put(error)


def _answered(url: str, history: History, started: float) -> bool:
    known = history.known(url)
    return known is not None and known.asked >= started
