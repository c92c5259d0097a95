"""A lock between processes, as far as the system has locks: what two of them write, one writes after the other."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 120.0  # seconds to wait for another process that does the same


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one process at a time go on, as far as the system has locks; none waits for ever."""
    try:
        import fcntl  # noqa: PLC0415 (there is none on Windows)

        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except (ImportError, OSError):
        yield
        return
    try:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:
                break
        yield
    finally:
        os.close(handle)
