"""A small checkout, and the command line in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import LibraryMaker

    Start = Callable[..., subprocess.Popen[str]]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(library: LibraryMaker) -> LibraryMaker:
    """The small library with the sources of the site and more records, so that commands take a while."""
    shutil.copytree(ROOT / "site", library.root / "site")
    shutil.copy(ROOT / "mkdocs.yml", library.root)
    for number in range(40):
        library.record(f"work-{number}", 2016, venue="arXiv")
    return library


@pytest.fixture
def start(checkout: LibraryMaker, tmp_path: Path) -> Start:
    """Starts `qkb WORDS --root CHECKOUT` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def begin(*words: str, before: tuple[str, ...] = (), **options: object) -> subprocess.Popen[str]:
        command = [*before, sys.executable, "-m", "qkb", *words, "--root", str(checkout.root)]
        pipe = subprocess.PIPE
        process: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]
            command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=tmp_path, **options
        )
        return process

    return begin
