"""A link on its way: how links are asked for, and where one has led so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urldefrag

from requests.cookies import RequestsCookieJar

from qkb.links.address import host_of, wrong
from qkb.links.anchors import is_anchor

# Hosts that ask programs to be slow.
DELAYS = {"arxiv.org": 3.0, "export.arxiv.org": 3.0}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How links are asked for; times in seconds.

    Args:
        connect: the longest wait for a connection.
        read: the longest silence of a server.
        total: the longest time for one link, waiting for its turn not counted.
        retries: how often a reset, a server's trouble or a 429 is asked again.
        backoff: the wait before the first of these; it doubles each time.
        longest_wait: the longest Retry-After that is waited for.
        redirects: how many a link may take.
        page_bytes: how much of a page is read to find an anchor.
        workers: how many links are asked for at once.
        per_host: how many of them of one host.
        delay: from one request to a host to the next.
        delays: the same for hosts that ask for more.
        allow_private: whether addresses that are not of the public internet are asked.
        proxy: whether the proxy that the environment names is used.
        ca: a file of certificates to trust; None for the usual ones.
    """

    connect: float = 10.0
    read: float = 20.0
    total: float = 60.0
    retries: int = 2
    backoff: float = 2.0
    longest_wait: float = 120.0
    redirects: int = 10
    page_bytes: int = 5_000_000
    workers: int = 16
    per_host: int = 1
    delay: float = 0.5
    delays: Mapping[str, float] = field(default_factory=lambda: DELAYS)
    allow_private: bool = False
    proxy: bool = False
    ca: str | None = None


@dataclass
class Job:
    """A link on its way: where it has led so far."""

    url: str
    at: str = ""
    method: Literal["HEAD", "GET"] = "HEAD"
    way: list[str] = field(default_factory=list)
    seen: set[tuple[str, str, str]] = field(default_factory=set)
    moved: str = ""
    permanent: bool = True
    tries: int = 0
    spent: float = 0.0
    cookies: RequestsCookieJar = field(default_factory=RequestsCookieJar)

    def __post_init__(self) -> None:
        self.restart("GET" if is_anchor(urldefrag(self.url).fragment) else "HEAD")

    @property
    def host(self) -> str:
        """The host that is asked next."""
        return "" if wrong(self.at) else host_of(self.at)

    def restart(self, method: Literal["HEAD", "GET"]) -> None:
        """Begin again at the link's own address."""
        self.at, self.method, self.moved, self.permanent = self.url, method, "", True
        self.way.clear()
        self.seen.clear()
        self.cookies = RequestsCookieJar()
