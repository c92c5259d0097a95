"""Writes a folder of files: only what changed, each file whole or not at all, and nothing that is not wanted stays."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = ".made-by-qkb-build"


class BuildError(Exception):
    """The site cannot be made; the message says why and what to do."""


class ForeignFolderError(BuildError):
    """The folder holds files that this program did not make."""


@dataclass(frozen=True)
class Changes:
    """What a synchronization did, as paths below the folder."""

    written: tuple[str, ...]
    removed: tuple[str, ...]


def claim(folder: Path) -> None:
    """Make the folder, or check that it is ours, so that nobody's files are ever removed.

    Raises:
        ForeignFolderError: if the folder holds files and not our mark.
    """
    mark = folder / MARK
    if mark.is_file():
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ForeignFolderError(f"{folder} was not made by `qkb build`; delete it, or choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()


def synchronize(folder: Path, files: Mapping[str, bytes]) -> Changes:
    """Make the folder hold exactly the files.

    Args:
        folder: ours (see `claim`); made if need be.
        files: content by path below the folder, with forward slashes.

    Raises:
        ForeignFolderError: if the folder holds files and not our mark.
        ValueError: if a path leads out of the folder.
    """
    claim(folder)
    for name in files:
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{name!r} leads out of the folder")
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()} - {MARK}
    removed = sorted(present - files.keys())
    for name in removed:
        (folder / name).unlink()
    _remove_empty(folder)
    written = sorted(name for name, content in files.items() if _write_changed(folder / name, content))
    return Changes(tuple(written), tuple(removed))


def _write_changed(path: Path, content: bytes) -> bool:
    try:
        if path.read_bytes() == content:
            return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    return True


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def read_tree(folder: Path, suffixes: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return the content of the files below a folder by path; hidden ones and editors' copies are left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") or part.endswith("~") for part in path.relative_to(folder).parts)
        and (not suffixes or path.suffix in suffixes)
    }
