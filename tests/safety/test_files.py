"""Files from strangers: every hostile one is refused with file and line, in little time, and nothing in it is run."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

BOMB = b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (n + 1, n + 1, n, n) for n in range(97, 121))
GOOD = b"title: A Work\nauthors: [Ada Lind]\n"
HOSTILE = {
    "aliases that double at every level": BOMB,
    "an alias of itself": b"a: &a [*a]\n",
    "a merge key": b"base: {a: b}\nother:\n  <<: {a: c}\n",
    "nesting in brackets": b"a: " + b"[" * 100_000,
    "nesting in braces": b"a: " + b"{a: " * 50_000,
    "nesting by indentation": b"".join(b" " * n + b"a:\n" for n in range(500)),
    "nesting in dashes": b"- " * 100_000,
    "nested keys": b"? " * 50_000,
    "a tag that makes an object": b"title: !!python/object/apply:os.system ['touch pwned']\n",
    "a tag of one's own": b"title: !x y\n",
    "a tag of binary data": b"title: !!binary aGVsbG8=\n",
    "a key twice": GOOD + b"title: Another\n",
    "a NUL": GOOD + b"venue: a\0b\n",
    "an escaped NUL": GOOD + b'venue: "a\\0b"\n',
    "an escape sequence": GOOD + b"venue: a\x1b[2Jb\n",
    "an escaped escape sequence": GOOD + b'venue: "a\\e[2Jb"\n',
    "a text that turns around": GOOD + "venue: a\u202eb\n".encode(),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "Latin-1": "title: Réné\n".encode("latin-1"),
    "a lone surrogate": b"title: \xed\xa0\x80\n",
    "an escaped surrogate": GOOD + b'venue: "\\ud800"\n',
    "an overlong encoding": b"title: \xc0\xaf\n",
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "several documents": GOOD + b"---\n" + GOOD,
    "a directive": b"%TAG ! tag:evil,2016:\n---\n" + GOOD,
    "ten megabytes": GOOD + b"notes: " + b"x" * 10_000_000 + b"\n",
    "a huge text": GOOD + b"notes: " + b"x" * 200_000 + b"\n",
    "a huge key": b"x" * 100_000 + b": a\n",
    "many keys": b"".join(b"k%d: a\n" % n for n in range(20_000)),
    "a long list": b"authors: [" + b"a, " * 50_000 + b"a]\n",
    "a huge number": b"pages: " + b"9" * 100_000 + b"\n",
    "a list at the top": b"- a\n",
    "a text at the top": b"a\n",
    "nothing": b"",
    "only a comment": b"# a\n",
    "an open quote": b'title: "a\n',
    "tabs": b"title:\n\t- a\n",
    "carriage returns": b"title: a\rauthors: b\r",
    "backtracking in a link": GOOD + b"links: {url: 'http://" + b"a" * 50_000 + b" '}\n",
    "backtracking in an id": GOOD + b"topics: ['" + b"a-" * 20_000 + b"!']\n",
    "backtracking in notes": GOOD + b"notes: '" + b"[" * 30_000 + b"]: <" + b"{" * 30_000 + b"'\n",
    "brackets in notes": GOOD + b"notes: '" + b"![](" * 30_000 + b"'\n",
    "ticks in notes": GOOD + b"notes: '" + b"`$" * 50_000 + b"'\n",
}  # fmt: skip
SLOWEST = 5.0  # seconds; what is quadratic takes longer


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_record_is_refused(
    what: str, library: LibraryMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library.root)
    library.write("papers/2016/hostile.yaml", HOSTILE[what])
    start = time.perf_counter()
    assert main(["validate", "--root", str(library.root)]) == 1
    taken = time.perf_counter() - start
    out = capsys.readouterr().out
    assert "papers/2016/hostile.yaml:" in out
    assert all(line.isprintable() and len(line) < 2000 for line in out.splitlines())
    assert taken < SLOWEST
    assert not (library.root / "pwned").exists()
    before = (library.papers / "2016/hostile.yaml").read_bytes()
    assert main(["fmt", "--root", str(library.root)]) in {0, 1}
    assert main(["query", "--root", str(library.root), "--format", "ids"]) == 0
    assert main(["doctor", "--root", str(library.root)]) == 1
    assert main(["build", "--pages-only", "--root", str(library.root)]) == 1
    after = (library.papers / "2016/hostile.yaml").read_bytes()
    assert after == before or main(["validate", "--root", str(library.root)]) == 1


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("file", ["topics.yaml", "lists/small-list.yaml"])
def test_a_hostile_vocabulary_is_refused(
    file: str, what: str, library: LibraryMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    library.write(f"papers/vocabulary/{file}", HOSTILE[what])
    start = time.perf_counter()
    assert main(["validate", "--root", str(library.root)]) == 1
    assert time.perf_counter() - start < 2 * SLOWEST
    out = capsys.readouterr().out
    assert f"papers/vocabulary/{file}:" in out
    assert all(line.isprintable() for line in out.splitlines())
    assert main(["list", "topics", "--root", str(library.root)]) in {0, 1}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_source_is_no_crash(what: str, library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    path = library.write("source.txt", HOSTILE[what][:300_000])
    for form in ("bibtex", "csl", "ris", "markdown"):
        start = time.perf_counter()
        assert main(["import", str(path), "--from", form, "--root", str(library.root)]) in {0, 1}
        assert time.perf_counter() - start < 2 * SLOWEST, form
        told = capsys.readouterr()
        assert all(line.isprintable() for line in (told.out + told.err).splitlines())


def test_a_pipe_does_not_hang(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(library.papers / "2016" / "pipe.yaml")
    for command in ("validate", "fmt", "query", "doctor"):
        assert main([command, "--root", str(library.root)]) in {0, 1}
    assert "papers/2016/pipe.yaml:1:" in capsys.readouterr().out
