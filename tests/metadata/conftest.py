"""Registries on this machine: they answer with what a test puts into `answers`, by path."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from qkb.metadata.http import Bases, Client

if TYPE_CHECKING:
    from collections.abc import Iterator


class Registry(ThreadingHTTPServer):
    """`answers`: path, or path and `?id`, -> status and body; a list is answered in turn. Unknown paths are 404."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, str | bytes] | list[tuple[int, str | bytes]]] = {}
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def client(self, **settings: object) -> Client:
        bases = Bases(
            arxiv=f"{self.base}/arxiv",
            crossref=f"{self.base}/crossref/",
            datacite=f"{self.base}/datacite/",
            openreview=(f"{self.base}/api2", f"{self.base}/api1"),
        )
        quick = {"timeout": (2.0, 1.0), "total": 5.0, "backoff": 0.01, "delays": {"": 0.0}}
        return Client(bases, **{**quick, **settings})  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        named = parse_qs(parts.query).get("id", [""])[0]
        key = f"{path}?{named}" if named else path
        self.server.asked.append(f"{path}?{unquote(parts.query)}" if parts.query else path)
        found = self.server.answers.get(key, (404, "not here"))
        code, body = found.pop(0) if isinstance(found, list) else found
        data = body.encode() if isinstance(body, str) else body
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    """The registries, running."""
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)
