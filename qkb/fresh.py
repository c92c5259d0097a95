"""Makes a file that did not exist: whole or not at all, and never in place of another one."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def create(path: Path, data: bytes) -> bool:
    """Write a new file; tell whether it was written: what exists already stays as it is.

    The bytes are written to another name in the same folder and then linked to their own, which fails where that
    exists, even if another program made it a moment ago. Where the system has no such links, the name is taken first.
    """
    # The random part: a killed process leaves its file behind, and another one may get its number.
    temporary = path.with_name(f".{path.name[:80]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        _write(temporary, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:
            return _claim(path, temporary)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _claim(path: Path, temporary: Path) -> bool:
    """Take a name that nobody has, and replace the empty file by the whole one."""
    try:
        path.open("xb").close()
    except FileExistsError:
        return False
    try:
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return True
