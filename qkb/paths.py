"""Where things are: the library in or above the current folder, else the copy that a wheel carries.

A library is a folder that contains `papers/vocabulary`. A checkout wins over the bundled copy, so that an
installed `qkb` shows the records that its user edits.

Every query starts here, so this module imports nothing that costs: `dataclasses` would add 16 ms, `typing`
and `pathlib` 4 ms each. A `Place` therefore keeps a string and makes a `Path` only when one is asked for.
"""
# os.path in place of pathlib, and imports inside functions, for the reason above:
# ruff: noqa: PLC0415, PTH100, PTH103, PTH109, PTH111, PTH112, PTH117, PTH118, PTH120

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


class NoLibraryError(Exception):
    """There is no library here or above, and none is bundled; the message says what to do."""


class Place:
    """A library's folders; immutable, and usable wherever a path to its root is (`os.path.join(place, ...)`).

    Args:
        root: the folder that contains `papers`.
        bundled: true for the read-only copy inside an installed wheel.
    """

    __slots__ = ("_bundled", "_folder")

    def __init__(self, root: str | os.PathLike[str], *, bundled: bool = False) -> None:
        self._folder = os.path.abspath(os.fspath(root))
        self._bundled = bundled

    def __fspath__(self) -> str:
        return self._folder

    def __repr__(self) -> str:
        return f"Place({self._folder!r}, bundled={self._bundled})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Place):
            return NotImplemented
        return (self._folder, self._bundled) == (other._folder, other._bundled)

    def __hash__(self) -> int:
        return hash((self._folder, self._bundled))

    @property
    def bundled(self) -> bool:
        """True for the copy inside an installed wheel."""
        return self._bundled

    @property
    def root(self) -> Path:
        """The folder that contains everything else."""
        from pathlib import Path

        return Path(self._folder)

    @property
    def papers(self) -> Path:
        """The records and vocabularies."""
        return self.root / "papers"

    @property
    def site(self) -> Path:
        """What the site is made from."""
        return self.root / "site"

    @property
    def mkdocs(self) -> Path:
        """The site's configuration file."""
        return self.root / "mkdocs.yml"

    def cache_folder(self) -> str | None:
        """Return a folder for caches, made if need be; None where nothing can be written.

        It is `.qkb` in the root; for a bundled or read-only library it is a folder of its own in the user's
        cache folder.
        """
        if not self._bundled:
            here = os.path.join(self._folder, ".qkb")
            if _writable(here):
                return here
        home = _user_cache()
        if home is None:
            return None
        there = os.path.join(home, "qkb", _fingerprint(self._folder))
        return there if _writable(there) else None

    def cache(self) -> Path | None:
        """Return `cache_folder` as a `Path`."""
        from pathlib import Path

        folder = self.cache_folder()
        return None if folder is None else Path(folder)


def locate(start: str | os.PathLike[str] | None = None) -> Place:
    """Find the library in `start` or in a folder above it.

    Without `start`, the search begins in the current folder, and the wheel's copy is used where it finds
    nothing. A folder that was named is never replaced by that copy: answers would come from another library.

    Raises:
        NoLibraryError: there is none; the message says what to do.
    """
    first = _first_folder(start)
    folder = first
    while not _is_library(folder):
        above = os.path.dirname(folder)
        if above == folder:
            return _fall_back(first, named=start is not None)
        folder = above
    return Place(folder)


def _first_folder(start: str | os.PathLike[str] | None) -> str:
    """Return the folder in which the search begins."""
    if start is None:
        try:
            return os.getcwd()
        except OSError:
            raise NoLibraryError("the current folder does not exist any more; go to another one") from None
    folder = os.path.abspath(os.fspath(start))
    if not os.path.isdir(folder):
        raise NoLibraryError(f"there is no folder {folder}; name one that contains papers/vocabulary")
    return folder


def _fall_back(first: str, *, named: bool) -> Place:
    """Return the wheel's copy where there is one and no folder was named."""
    bundled = _bundled_folder()
    if not named and _is_library(bundled):
        return Place(bundled, bundled=True)
    raise NoLibraryError(
        f"no library in {first} or in a folder above it: qkb looks for a folder that contains "
        "papers/vocabulary. Go to a checkout of the survey, or name one with --root DIR."
    )


def _is_library(folder: str) -> bool:
    return os.path.isdir(os.path.join(folder, "papers", "vocabulary"))


def _bundled_folder() -> str:
    """Return where a wheel keeps its copy; a checkout has no such folder."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "_bundled")


def _user_cache() -> str | None:
    """Return the user's cache folder, or None where no home folder is known."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):  # the XDG rules say to ignore a relative one
        return named
    home = os.path.expanduser("~")
    return os.path.join(home, ".cache") if os.path.isabs(home) else None


def _fingerprint(path: str) -> str:
    """Return a short name for a path that no other path has."""
    import hashlib

    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _writable(folder: str) -> bool:
    """Make the folder if need be; tell whether files can be made in it."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
