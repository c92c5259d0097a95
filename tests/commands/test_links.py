from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from qkb.cli import main
from qkb.commands.links import run
from qkb.links.job import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import LibraryMaker

ROOT = Path(__file__).parents[2]


class Handler(BaseHTTPRequestHandler):
    """`/ok` is well, `/404` is not, `/hang` waits."""

    def do_HEAD(self) -> None:
        asked.append(self.path)
        if self.path == "/hang":
            over.wait(20)
        self.send_response(404 if self.path == "/404" else 301 if self.path == "/moved" else 200)
        if self.path == "/moved":
            self.send_header("Location", "/ok")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


asked: list[str] = []
over = threading.Event()


@pytest.fixture
def site() -> Iterator[str]:
    """The address of a server."""
    asked.clear()
    over.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    over.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def linked(bare_library: LibraryMaker, site: str) -> LibraryMaker:
    """A library of one record with four links, and a page with one."""
    bare_library.record(
        "many",
        links={"url": f"{site}/ok", "pdf": f"{site}/404"},
        code=[{"url": f"{site}/moved"}, {"url": f"{site}/ok"}],
    )
    bare_library.write("README.md", f"# A library\n\n[page]({site}/ok?readme)\n")
    return bare_library


def links(library: LibraryMaker, *arguments: str) -> int:
    return main(["links", "--root", str(library.root), "--allow-private", "--delay", "0", *arguments])


def test_the_report(linked: LibraryMaker, site: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert links(linked) == 1
    out, err = capsys.readouterr()
    lines = (linked.papers / "2016" / "many.yaml").read_text().splitlines()
    pdf = next(number for number, line in enumerate(lines, 1) if "pdf:" in line)
    code = next(number for number, line in enumerate(lines, 1) if "/moved" in line)
    archive = f"https://web.archive.org/web/2*/{site}/404"
    assert sorted(out.splitlines()) == sorted([
        f"papers/2016/many.yaml:{pdf}: links.pdf: dead: {site}/404 answers 404; an archive may have it: {archive}",
        f"papers/2016/many.yaml:{code}: code[0].url: moved: {site}/moved has moved to {site}/ok",
    ])  # fmt: skip
    assert err == "qkb links: 5 links: 1 dead, 1 moved, 3 ok\n"
    assert len(asked) == 6, "an address that stands twice is asked once"


def test_answers_are_kept_beside_the_records_not_in_them(
    linked: LibraryMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in linked.papers.rglob("*.yaml")}
    assert links(linked) == 1
    first = capsys.readouterr().out
    count = len(asked)
    assert links(linked) == 1
    assert capsys.readouterr().out == first
    assert len(asked) == count, "fresh answers are not asked for again"
    assert links(linked, "--max-age", "0") == 1
    assert len(asked) == 2 * count
    assert {path: path.read_bytes() for path in linked.papers.rglob("*.yaml")} == before
    assert (linked.root / ".qkb" / "links.sqlite").is_file()


def test_only_some(linked: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*arguments: str) -> list[str]:
        links(linked, "--format", "json", "--quiet", *arguments)
        found = json.loads(capsys.readouterr().out)["links"]
        return sorted(each["path"] or each["file"] for each in found)

    record = ["code[0].url", "code[1].url", "links.pdf", "links.url"]
    assert shown("--only", "stale") == ["README.md", *record]
    assert shown("--only", "stale") == []
    assert shown("--only", "dead") == ["links.pdf"]
    assert shown("--only", "moved") == ["code[0].url"]
    assert shown("many") == record
    assert shown("--host", "127.0.0.1") == ["README.md", *record]
    assert shown("--host", "elsewhere.example") == []


def test_private_addresses_are_refused_unless_allowed(linked: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["links", "--root", str(linked.root), "--delay", "0"]) == 1
    out, err = capsys.readouterr()
    assert asked == []
    assert out.count("refused: http://127.0.0.1") == 5
    assert "127.0.0.1: an address of this machine" in out
    assert err == "qkb links: 5 links: 5 refused\n"


def test_offline_lists_the_links_and_asks_nobody(linked: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert links(linked, "--offline") == 0
    out, err = capsys.readouterr()
    assert asked == []
    assert out.count(": unasked: http://127.0.0.1") == 5
    assert err == "qkb links: 5 links: 5 unasked\n"
    linked.write("README.md", "[a](ftp://a.example/x)\n")
    assert links(linked, "--offline") == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "README.md:1: wrong: ftp://a.example/x only http and https addresses are links"
    assert links(linked, "--offline", "--format", "github") == 1
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_without_a_network_nothing_is_well(
    linked: LibraryMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    linked.write("README.md", "https://a.example\n")
    assert links(linked, "--host", "a.example") == 1
    assert "no name could be looked up for 1 of the links: is this machine on the network?" in capsys.readouterr().err


def test_records_with_faults_are_counted(linked: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    linked.record("faulty", notes="Short.", tags=["zzz"])
    assert links(linked, "--offline") == 0
    assert "1 record has faults, so that links are left out; see qkb validate" in capsys.readouterr().err


def test_a_report_into_a_file(linked: LibraryMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "links.md"
    assert links(linked, "--format", "markdown", "--output", str(target), "--quiet") == 1
    assert capsys.readouterr() == ("", "")
    assert target.read_text().startswith("# Links\n\n5 links: 1 dead, 1 moved, 3 ok.\n\n## Dead (1)\n")


def test_annotations(linked: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert links(linked, "--format", "github") == 1
    lines = sorted(capsys.readouterr().out.splitlines())
    assert lines[0].startswith("::error file=papers/2016/many.yaml,line=")
    assert lines[1].startswith("::warning file=papers/2016/many.yaml,line=")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["manx"], "there is no record 'manx'. Did you mean 'many'?"),
        (["--max-age", "-1"], "--max-age -1: write a number from 0"),
        (["--max-age", "nan"], "--max-age nan: write a number from 0"),
        (["--timeout", "0"], "--timeout 0: write a number from 0.001"),
        (["--workers", "0"], "--workers 0: write a number from 1"),
        (["--offline", "--only", "dead"], "--offline asks nobody"),
        (["--offline", "--verify"], "--offline asks nobody"),
    ],
)
def test_wrong_usage(
    linked: LibraryMaker, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert links(linked, *arguments) == 2
    assert message in capsys.readouterr().err
    assert asked == []


def test_run_is_for_python_too(linked: LibraryMaker) -> None:
    rows = run(linked.place, ["many"], settings=Settings(allow_private=True, delay=0.0))
    broken = {row.path: row.status for row in rows if row.status != "ok"}
    assert broken == {"code[0].url": "moved", "links.pdf": "dead"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_it_goes_on_later(linked: LibraryMaker, site: str, how: signal.Signals) -> None:
    linked.write("site/pages/last.md", f"{site}/hang\n")
    command = [sys.executable, "-m", "qkb", "links", "--allow-private", "--delay", "0", "--workers", "1"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(linked.root)}
    process = subprocess.Popen(
        command, cwd=linked.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 20
    while "/hang" not in asked and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(how)
    out, err = process.communicate(timeout=10)
    assert (out, process.returncode) == ("", 130)
    assert err == "qkb links: interrupted: what was answered is kept, and the next run goes on from there\n"
    first = len(asked)
    over.set()
    assert links(linked) == 1
    assert asked[first:] == ["/hang"]


def test_on_a_terminal_there_is_a_bar(linked: LibraryMaker) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "qkb", "links", "--allow-private", "--delay", "0"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(linked.root)}
    process = subprocess.Popen(command, cwd=linked.root, env=environment, stdout=subprocess.PIPE, stderr=theirs)
    process.communicate(timeout=30)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "] 4/4 links, 1 broken, 0 unknown" in shown
    assert shown.endswith("qkb links: 5 links: 1 dead, 1 moved, 3 ok\r\n")
