"""Hands out links so that no host is asked by too many at once or too fast, and nobody sleeps while others could go."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qkb.links.job import Job, Settings


FIRST = -1.0  # what has begun is finished before anything else begins, so that a stop loses little


@dataclass
class _Host:
    """A host's links that wait, by the time at which they may go, and when the host may be asked next."""

    waiting: list[tuple[float, int, Job]] = field(default_factory=list)
    busy: int = 0
    free_at: float = 0.0


class Schedule:
    """Links that wait for their turn; threads share one.

    Args:
        jobs: the links.
        settings: the limits.
    """

    def __init__(self, jobs: Iterable[Job], settings: Settings) -> None:
        self._settings = settings
        self._changed = threading.Condition()
        self._hosts: dict[str, _Host] = {}
        self._ready: list[tuple[float, int, str]] = []
        self._number = itertools.count()
        self._left = 0
        self._stopped = False
        for job in jobs:
            self._left += 1
            self._put(job, 0.0)

    def next(self) -> tuple[Job, str] | None:
        """Wait for a link whose turn it is; return it with the host to report back, or None when all are done."""
        with self._changed:
            while self._left and not self._stopped:
                now = time.monotonic()
                found = self._take(now)
                if found is not None:
                    return found
                self._changed.wait(max(self._ready[0][0] - now, 0.001) if self._ready else None)
            return None

    def done(self, host: str, job: Job | None = None, seconds: float = 0.0, *, whole_host: bool = False) -> None:
        """Report that a request to a host is over.

        Args:
            host: the host that was asked.
            job: the link, where it needs another request.
            seconds: the wait before it.
            whole_host: whether the host gets no other question before.
        """
        with self._changed:
            now = time.monotonic()
            state = self._hosts[host]
            state.busy -= 1
            if whole_host:
                state.free_at = max(state.free_at, now + seconds)
            if job is None:
                self._left -= 1
            else:
                self._put(job, now + seconds if seconds else FIRST)
            self._offer(host)
            if not self._left:
                self._changed.notify_all()
            else:
                self._changed.notify(2)

    @property
    def stopped(self) -> bool:
        """Whether nothing more is handed out."""
        return self._stopped

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _put(self, job: Job, when: float) -> None:
        host = job.host
        heapq.heappush(self._hosts.setdefault(host, _Host()).waiting, (when, next(self._number), job))
        self._offer(host)

    def _offer(self, host: str) -> None:
        state = self._hosts[host]
        if state.waiting and state.busy < self._settings.per_host:
            heapq.heappush(self._ready, (max(state.free_at, state.waiting[0][0]), next(self._number), host))

    def _take(self, now: float) -> tuple[Job, str] | None:
        while self._ready and self._ready[0][0] <= now:
            _, _, host = heapq.heappop(self._ready)
            state = self._hosts[host]
            if not state.waiting or state.busy >= self._settings.per_host:
                continue  # offered more than once
            if max(state.free_at, state.waiting[0][0]) > now:
                self._offer(host)
                continue
            _, _, job = heapq.heappop(state.waiting)
            state.busy += 1
            state.free_at = now + self._settings.delays.get(host, self._settings.delay)
            self._offer(host)
            return job, host
        return None
