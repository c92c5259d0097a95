"""A real server on this machine that misbehaves in every way that servers on the internet do."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import struct
import threading
import time
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from qkb.links.ask import Asker
from qkb.links.job import Job, Settings
from qkb.links.network import Network, Resolver
from qkb.links.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = b"""<!doctype html><meta charset=utf-8><title>x</title>
<h2 id="set-up">Set up</h2> <a name="old">Old</a> <h2 id="user-content-usage">Usage</h2>
<h2 id="l\xc3\xb6ss">L</h2> <script>{"html": "<h2 id=\\"in-script\\">"}</script> <p>id="not-an-anchor"</p>"""
CUT = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


class Server(ThreadingHTTPServer):
    """Counts and times what it is asked; `over` ends everything that hangs."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.over = threading.Event()
        self.asked: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {}
        self.at_once = self.most_at_once = 0
        self.sent = 0
        self.lock = threading.Lock()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that go away are what is tested."""


class Handler(BaseHTTPRequestHandler):
    """A method per misbehaviour: `/reset` is `do_reset`; what is not known is 404."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.path = re.sub(r"^http://[^/]+", "", self.path)  # what a proxy is asked
        path = self.path.partition("?")[0].strip("/").replace("-", "_")
        server = self.server
        with server.lock:
            server.asked[f"{self.command} /{path}"] += 1
            server.times.setdefault(path, []).append(time.monotonic())
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            name, _, argument = path.partition("/")
            with contextlib.suppress(*CUT):
                getattr(self, f"on_{name}", self.on_missing)(argument)
        finally:
            with server.lock:
                server.at_once -= 1

    def seen(self) -> int:
        """Tell how often this path was asked, by any method."""
        return len(self.server.times[self.path.partition("?")[0].strip("/").replace("-", "_")])

    def say(self, code: int, body: bytes = b"", kind: str = "text/html", **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def on_missing(self, _: str) -> None:
        self.say(404, b"no such page")

    def on_(self, _: str) -> None:
        self.say(200, b"the front page")

    def on_ok(self, _: str) -> None:
        self.say(200, PAGE)

    def on_code(self, code: str) -> None:
        self.say(int(code), b"as you wish")

    def on_slow(self, _: str) -> None:
        self.server.over.wait(0.3)
        self.say(200, PAGE)

    def on_hang(self, _: str) -> None:
        self.server.over.wait(20)
        self.close_connection = True

    def on_reset(self, _: str) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def on_garbage(self, _: str) -> None:
        self.wfile.write(b"\x00\xff220 mail.example ESMTP\r\n\r\n")
        self.close_connection = True

    def on_drip_headers(self, _: str) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.server.over.wait(0.1):
            self.wfile.write(b"X-Drip: drop\r\n")

    def on_drip_body(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        while self.command != "HEAD" and not self.server.over.wait(0.1):
            self.wfile.write(b"drop ")
        self.close_connection = True

    def on_endless(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        while self.command != "HEAD" and not self.server.over.is_set():
            self.wfile.write(b"<p>again and again</p>\n" * 2000)
            self.server.sent += 46000
        self.close_connection = True

    def on_bomb(self, _: str) -> None:
        self.say(200, gzip.compress(bytes(200_000_000), 1), Content_Encoding="gzip")

    def on_packed(self, _: str) -> None:
        self.say(200, gzip.compress(PAGE), Content_Encoding="gzip")

    def on_badly_packed(self, _: str) -> None:
        self.say(200, b"this is no gzip", Content_Encoding="gzip")

    def on_brotli(self, _: str) -> None:
        self.say(200, b"whatever", Content_Encoding="br")

    def on_latin(self, _: str) -> None:
        self.say(200, '<h2 id="größe">'.encode("latin-1"), "text/html; charset=iso-8859-1")

    def on_lying(self, _: str) -> None:
        self.say(200, b'\xff\xfe\x00<h2 id="here">\xc3(', "text/html; charset=no-such-charset")

    def on_pdf(self, _: str) -> None:
        self.say(200, b"%PDF-1.4", "application/pdf")

    def on_loop(self, place: str) -> None:
        self.say(302, Location=f"/loop/{'b' if place == 'a' else 'a'}")

    def on_deeper(self, level: str) -> None:
        self.say(302, Location=f"/deeper/{int(level) + 1}")

    def on_cookie(self, _: str) -> None:
        if "seen=yes" in self.headers.get("Cookie", ""):
            self.say(200, PAGE)
        else:
            self.say(302, Location="/cookie", Set_Cookie="seen=yes; Path=/")

    def on_to(self, code: str) -> None:
        self.say(int(code), Location=unquote(self.path.partition("?")[2]))

    def on_bad_location(self, _: str) -> None:
        self.say(301, Location="http://[oops/")

    def on_odd_location(self, _: str) -> None:
        self.say(301, Location="/ok/caf\xe9 \xfc?a b")

    def on_head_refused(self, code: str) -> None:
        self.say(int(code) if self.command == "HEAD" else 200, PAGE)

    def on_recovers(self, _: str) -> None:
        self.say(500 if self.seen() <= 2 else 200, PAGE)

    def on_burst(self, _: str) -> None:
        if self.seen() <= 2:
            self.say(429, Retry_After="1")
        else:
            self.say(200, PAGE)

    def on_until(self, _: str) -> None:
        if self.seen() == 1:
            self.say(503, Retry_After=formatdate(time.time() + 2, usegmt=True))
        else:
            self.say(200, PAGE)

    def on_leave_me(self, _: str) -> None:
        self.say(429, Retry_After="86400")


@pytest.fixture
def server() -> Iterator[Server]:
    """The server, running."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


QUICK: dict[str, Any] = {
    "connect": 2.0,
    "read": 0.6,
    "total": 2.0,
    "retries": 2,
    "backoff": 0.02,
    "longest_wait": 5.0,
    "delay": 0.0,
    "workers": 8,
    "allow_private": True,
}


@pytest.fixture
def quick() -> Callable[..., Settings]:
    """Settings for a server next door, with changes."""
    return lambda **changes: Settings(**{**QUICK, **changes})


@pytest.fixture
def ask(quick: Callable[..., Settings]) -> Iterator[Callable[..., Outcome]]:
    """Asks for one link until its end is known; the settings and the network can be given."""
    askers: list[Asker] = []

    def ask_for(url: str, network: Network | None = None, **changes: Any) -> Outcome:
        asker = Asker(quick(**changes), network)
        askers.append(asker)
        job = Job(url)
        for _ in range(60):
            verdict = asker.step(job)
            if isinstance(verdict, Outcome):
                return verdict
            time.sleep(verdict.seconds)
        raise AssertionError("a link that never ends")

    yield ask_for
    for asker in askers:
        asker.close()


@pytest.fixture
def names() -> Callable[..., Resolver]:
    """A resolver that knows only the names given, and what they lead to."""

    def make(**known: str | list[str]) -> Resolver:
        def lookup(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
            addresses = known.get(host.replace(".", "_"))
            if addresses is None:
                if host.replace(".", "").isdigit() or ":" in host:
                    addresses = [host]
                else:
                    raise socket.gaierror(socket.EAI_NONAME, "unknown")
            return [
                (socket.AF_INET6 if ":" in address else socket.AF_INET, (address, port))
                for address in ([addresses] if isinstance(addresses, str) else addresses)
            ]

        return Resolver(lookup, 2.0)

    return make
