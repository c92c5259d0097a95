"""A process that is killed at any moment leaves every file old or new, and the next one works."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import LibraryMaker
    from tests.safety.conftest import Start

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")]
SECONDS = 3.0  # of killing, for each command


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file but caches and the temporary ones of killed processes."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".tmp")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if ".qkb" not in path.parts}


def killed_again_and_again(
    start: Start, words: tuple[str, ...], before: Callable[[], object], check: Callable[[], None]
) -> int:
    """Kill a command at random moments of its life; check after each time; return how often it was still alive."""
    before()
    begun = time.monotonic()
    assert code(start, *words) in {0, 1}
    life = time.monotonic() - begun
    chance = random.Random(7)  # noqa: S311 (no secret)
    alive = 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until or not alive:
        before()
        process = start(*words)
        time.sleep(chance.uniform(0.3, 1.0) * life)
        alive += process.poll() is None
        process.kill()
        process.communicate()
        check()
    return alive


def code(start: Start, *words: str) -> int:
    process = start(*words)
    process.communicate(timeout=120)
    return process.returncode


def ends_well(start: Start, *words: str) -> None:
    process = start(*words)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [("fmt",), ("doctor", "layout", "--fix")])
def test_records_are_old_or_new(words: tuple[str, ...], checkout: LibraryMaker, start: Start) -> None:
    old = files(checkout.papers)
    ends_well(start, "fmt")
    new = files(checkout.papers)
    assert old != new

    def before() -> None:
        for name, content in old.items():
            (checkout.papers / name).write_bytes(content)

    def check() -> None:
        now = files(checkout.papers)
        assert now.keys() == old.keys()
        assert all(now[name] in {old[name], new[name]} for name in old)

    assert killed_again_and_again(start, words, before, check)
    ends_well(start, "fmt")
    assert files(checkout.papers) == new


def test_the_schema_is_old_or_new(checkout: LibraryMaker, start: Start) -> None:
    target = checkout.papers / "schema.json"
    ends_well(start, "validate", "--write-schema")
    new = target.read_bytes()

    def check() -> None:
        assert target.read_bytes() in {b"{}", new}

    assert killed_again_and_again(start, ("validate", "--write-schema"), lambda: target.write_bytes(b"{}"), check)
    ends_well(start, "validate", "--write-schema")
    assert target.read_bytes() == new


def test_the_index_is_made_again(checkout: LibraryMaker, start: Start) -> None:
    def before() -> None:
        for path in checkout.papers.glob("2016/work-*.yaml"):
            path.write_text(path.read_text() + "# changed\n")
        (checkout.root / ".qkb" / "index.sqlite").unlink(missing_ok=True)

    def check() -> None:
        process = start("query", "--format", "ids")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, len(out.split())) == (0, 43), err

    assert killed_again_and_again(start, ("query", "--format", "ids"), before, check)


def test_pages_are_whole(checkout: LibraryMaker, start: Start) -> None:
    words = ("build", "--pages-only", "--quiet")
    build = checkout.root / "build"
    ends_well(start, *words)
    new = files(build)

    def before() -> None:
        for path in build.rglob("*.md"):
            path.write_bytes(b"old")

    def check() -> None:
        assert all(content in {b"old", new[name]} for name, content in files(build).items() if name.endswith(".md"))

    assert killed_again_and_again(start, words, before, check)
    ends_well(start, *words)
    assert files(build) == new
    assert not list(build.rglob("*.tmp"))


def test_an_export_is_whole(checkout: LibraryMaker, start: Start, tmp_path: Path) -> None:
    target = tmp_path / "out.bib"
    words = ("export", str(target), "--force")
    ends_well(start, *words)
    new = target.read_bytes()

    def check() -> None:
        assert target.read_bytes() in {b"old", new}

    assert killed_again_and_again(start, words, lambda: target.write_bytes(b"old"), check)
    ends_well(start, *words)
    assert target.read_bytes() == new


def test_drafts_of_an_import_are_whole(checkout: LibraryMaker, start: Start, tmp_path: Path) -> None:
    entries = (
        f"@article{{k{n}, title={{Work {'abcdefghij'[n % 10]}{n} of Its Own}}, author={{Lind, Ada}}, year=2019}}\n"
        for n in range(60)
    )
    source = tmp_path / "in.bib"
    source.write_text("".join(entries))
    folder = checkout.papers / "2019"
    words = ("import", str(source), "--write", "--quiet")
    assert code(start, *words) in {0, 1}
    new = files(folder)
    assert new

    def before() -> None:
        for path in folder.iterdir():
            path.unlink()

    def check() -> None:
        now = files(folder)
        assert all(new[name] == content for name, content in now.items() if name in new)
        assert now.keys() <= new.keys()

    assert killed_again_and_again(start, words, before, check)
    assert code(start, *words) in {0, 1}
    assert files(folder) == new


def test_what_new_begins_is_whole(checkout: LibraryMaker, start: Start) -> None:
    asked = ("--title", "A Work of Its Own", "--author", "Ada Lind", "--year", "2021", "--venue", "FABJ", "--id", "own")
    words = ("new", *asked, "--offline", "--family", "binary", "--quiet")
    known = files(checkout.root)
    assert code(start, *words) == 0
    new = {name: content for name, content in files(checkout.root).items() if name not in known}
    assert {Path(name).name for name in new} >= {"own.yaml", "own.py", "test_own.py"}

    def before() -> None:
        for name in new:
            (checkout.root / name).unlink(missing_ok=True)

    def check() -> None:
        now = {name: content for name, content in files(checkout.root).items() if name not in known}
        assert now.items() <= new.items()

    assert killed_again_and_again(start, words, before, check)
    before()
    assert code(start, *words) == 0
    assert {name: files(checkout.root)[name] for name in new} == new


def test_an_accepted_result_is_whole(checkout: LibraryMaker) -> None:
    """Kills the writing itself: a whole `reproduce --accept` would spend its life importing torch."""
    target = checkout.root / "result.json"
    script = (
        "import sys; from pathlib import Path; from reference_impls.kit.results import *\n"
        "r = Result('2.6', (0, 1), {'a' * 50 + str(n): (0.5,) * 50 for n in range(400)}, (), ())\n"
        "write(Path(sys.argv[1]), r); print('first', flush=True)\n"
        "while True: write(Path(sys.argv[1]), r)\n"
    )
    chance = random.Random(7)  # noqa: S311 (no secret)
    root = Path(__file__).parents[2]
    until = time.monotonic() + SECONDS
    whole = b""
    while time.monotonic() < until:
        process = subprocess.Popen([sys.executable, "-c", script, str(target)], cwd=root, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        time.sleep(chance.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
        whole = whole or target.read_bytes()
        assert target.read_bytes() == whole
    assert whole.endswith(b"}\n")
