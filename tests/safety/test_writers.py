"""Two writers at once, a full disk, a checkout that cannot be written: a message and a code, and nothing is lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import LibraryMaker
    from tests.safety.conftest import Start

pytestmark = pytest.mark.slow


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def all_at_once(start: Start, *words: str, times: int = 3) -> list[str]:
    """Start a command several times at once; every one has to end well; return what they printed."""
    processes = [start(*words) for _ in range(times)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * times, said
    assert not any("Traceback" in err for _, err in said)
    return [out for out, _ in said]


def test_two_formatters(checkout: LibraryMaker, start: Start) -> None:
    all_at_once(start, "fmt")
    assert all_at_once(start, "fmt", "--check", times=1) == [""]
    assert not list(checkout.root.rglob("*.tmp"))


def test_two_builds(checkout: LibraryMaker, start: Start) -> None:
    for number in range(3):
        checkout.record(f"fresh-{number}", 2018)
        (checkout.papers / f"2016/work-{number}.yaml").unlink()
        all_at_once(start, "build", "--pages-only", "--quiet")
    docs = checkout.root / "build" / "docs"
    assert len(list((docs / "papers").glob("*.md"))) >= 43
    assert not list(docs.rglob("*.tmp"))
    before = files(docs)
    all_at_once(start, "build", "--pages-only", "--quiet", times=1)
    assert files(docs) == before


def test_two_queries_that_refresh_the_index(checkout: LibraryMaker, start: Start) -> None:
    for number in range(3):
        checkout.record(f"fresh-{number}", 2018)
        said = all_at_once(start, "query", "--format", "ids", times=4)
        assert [len(out.split()) for out in said] == [44 + number] * 4


def test_two_imports_of_the_same(checkout: LibraryMaker, start: Start, tmp_path: Path) -> None:
    source = tmp_path / "in.bib"
    entries = (
        f"@book{{k{n}, title={{Imported {'abcdefgh'[n]}{n} Work}}, author={{Lind, Ada}}, year=2019}}\n"
        for n in range(8)
    )
    source.write_text("".join(entries))
    processes = [start("import", str(source), "--write", "--quiet") for _ in range(2)]
    said = [process.communicate(timeout=60) for process in processes]
    assert all(process.returncode in {0, 1} for process in processes)
    assert not any("Traceback" in err for _, err in said)
    found = files(checkout.papers / "2019")
    assert len(found) == 8
    assert all(content.startswith(b"# yaml-language-server") for content in found.values())


WRITING = {
    "fmt": ("fmt",),
    "schema": ("validate", "--write-schema"),
    "doctor": ("doctor", "layout", "schema", "--fix"),
    "build": ("build", "--pages-only"),
    "query to a file": ("query", "--output", "OUT"),
    "export": ("export", "OUT", "--force", "--format", "json"),
    "tables": ("tables", "--output", "OUT"),
}


@pytest.mark.parametrize("what", WRITING)
def test_a_full_disk(what: str, checkout: LibraryMaker, start: Start, tmp_path: Path) -> None:
    """Files of more than 300 bytes cannot be written: what a full disk looks like to a program."""
    target = tmp_path / "out.json"
    target.write_text("old")
    words = [str(target) if word == "OUT" else word for word in WRITING[what]]
    before = files(checkout.papers)

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    process = start(*words, preexec_fn=limit)
    out, err = process.communicate(timeout=60)
    assert process.returncode in {1, 2}, (out, err)
    assert "Traceback" not in err
    assert "too large" in err.lower() or "cannot be written" in err.lower()
    assert files(checkout.papers) == before
    assert target.read_text() == "old"
    assert not [path for path in (*checkout.root.rglob("*.tmp"), *tmp_path.glob("*.tmp")) if ".qkb" not in path.parts]


def test_a_query_on_a_full_disk_still_answers(checkout: LibraryMaker, start: Start) -> None:
    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    process = start("query", "--format", "ids", preexec_fn=limit)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, len(out.split())) == (0, 43), err
    assert "in memory" in err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 kB; only root can have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here; the limit on file sizes stands in for it")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tmpfs is of Linux")
def test_a_disk_that_is_really_full(checkout: LibraryMaker, start: Start, small_disk: Path) -> None:
    process = start("build", "--pages-only", "--output", str(small_disk / "out"))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "No space left on device" in err
    assert "Traceback" not in err
    target = small_disk / "out.json"
    old = b"{}"
    for path in small_disk.rglob("*.md"):
        path.unlink()
    target.write_bytes(old)
    (small_disk / "filler").write_bytes(b"x" * 60_000)
    process = start("query", "--format", "json", "--output", str(target))
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "No space left on device" in err) == (1, True), err
    assert target.read_bytes() == old


@pytest.mark.parametrize("what", WRITING)
def test_a_checkout_that_cannot_be_written(what: str, checkout: LibraryMaker, start: Start) -> None:
    mortal = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    if mortal and subprocess.run([*mortal, "true"], capture_output=True, check=False).returncode:
        pytest.skip("root may write everywhere, and cannot give that up here")
    words = [str(checkout.root / "out.json") if word == "OUT" else word for word in WRITING[what]]
    (checkout.root / "out.json").write_text("old")
    before = files(checkout.root)
    folders = [checkout.root, *(path for path in checkout.root.rglob("*") if path.is_dir())]
    for path in (*folders, *(path for path in checkout.root.rglob("*") if path.is_file())):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        process = start(*words, before=mortal)
        out, err = process.communicate(timeout=60)
    finally:
        for path in folders:
            path.chmod(0o755)
    assert process.returncode in {1, 2}, (out, err)
    assert "Traceback" not in err
    assert "ermission denied" in err or "cannot be written" in err
    assert files(checkout.root) == before
