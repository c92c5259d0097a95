from __future__ import annotations

import shutil
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main
from qkb.commands.serve import rebuild, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import LibraryMaker

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(library: LibraryMaker) -> LibraryMaker:
    """The small library with the sources of the site."""
    shutil.copytree(ROOT / "site", library.root / "site")
    shutil.copy(ROOT / "mkdocs.yml", library.root)
    return library


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_an_edited_record_is_served_anew(checkout: LibraryMaker) -> None:
    port = free_port()
    server = run(checkout.place, checkout.root / "build", port=port)
    assert server is not None
    serving = threading.Thread(target=server.serve)
    serving.start()

    def page() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/papers/wide-steps/", timeout=30) as answer:
            return str(answer.read().decode())

    try:
        assert eventually(server.serve_thread.is_alive)
        assert "Training is short." in page()
        assert "Content-Security-Policy" not in page()
        path = checkout.root / "papers" / "2017" / "wide-steps.yaml"
        path.write_text(path.read_text().replace("Training is short.", "Training is long."))
        assert eventually(lambda: "Training is long." in page())
    finally:
        server.shutdown(wait=True)
        serving.join(timeout=30)
    assert not serving.is_alive()


def test_a_fault_keeps_the_last_good_site(checkout: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    output = checkout.root / "build"
    assert rebuild(checkout.place, output)
    checkout.record("bad", 2018, venue="NOWHERE")
    assert not rebuild(checkout.place, output)
    assert capsys.readouterr().err.startswith("papers/2018/bad.yaml:")
    assert (output / "site" / "papers" / "wide-steps" / "index.html").is_file()


def test_nothing_is_served_while_the_first_build_fails(
    checkout: LibraryMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout.record("bad", 2018, venue="NOWHERE")
    assert main(["serve", "--root", str(checkout.root)]) == 1
    assert "papers/2018/bad.yaml:" in capsys.readouterr().err


def test_a_port_in_use_is_told(checkout: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert main(["serve", "--quiet", "--root", str(checkout.root), "--port", str(port)]) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
