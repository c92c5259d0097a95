"""The bar that shows on a terminal how far a run is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from qkb.links.outcome import BROKEN

if TYPE_CHECKING:
    from qkb.links.check import Progress

WIDTH = 24
PAUSE = 0.1


class Bar:
    """Draws on a stream, at most ten times a second.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0.0
        self._longest = 0
        self._broken = self._unknown = 0

    def __call__(self, progress: Progress) -> None:
        """Draw the bar anew."""
        if progress.last is not None:
            self._broken += progress.last.status in BROKEN
            self._unknown += progress.last.status == "unknown"
        self.draw(progress.done, progress.total)

    def draw(self, done: int, total: int) -> None:
        """Draw the bar anew, without news of a link."""
        now = time.monotonic()
        if now - self._drawn < PAUSE and done < total:
            return
        self._drawn = now
        self._write(line(done, total, self._broken, self._unknown))

    def clear(self) -> None:
        """Take the bar away."""
        if self._longest:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()

    def _write(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._longest))
        self._stream.flush()
        self._longest = max(self._longest, len(text))


def line(done: int, total: int, broken: int, unknown: int) -> str:
    """Return the bar as text.

    >>> line(1, 2, 0, 1)
    '[############            ] 1/2 links, 0 broken, 1 unknown'
    """
    filled = WIDTH * done // total if total else WIDTH
    return f"[{'#' * filled}{' ' * (WIDTH - filled)}] {done}/{total} links, {broken} broken, {unknown} unknown"
