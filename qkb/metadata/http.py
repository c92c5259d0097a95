"""Asks registries politely: one question at a time, timeouts, few retries, answers kept for a while."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, metadata
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from qkb import __version__
from qkb.links.waiting import retry_after, spoken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LARGEST = 20_000_000
LONGEST_WAIT = 60.0
# An address at which the registries can reach whoever asks; some answer such questions sooner.
MAILTO = "QKB_MAILTO"


class NoAnswerError(Exception):
    """A registry gave no answer that can be used; the message says why. It says nothing about the work."""


class UnreachableError(NoAnswerError):
    """A registry cannot be reached at all: there may be no network."""


@dataclass(frozen=True)
class Bases:
    """Where the registries are."""

    arxiv: str = "https://export.arxiv.org/api/query"
    crossref: str = "https://api.crossref.org/works/"
    datacite: str = "https://api.datacite.org/dois/"
    openreview: tuple[str, ...] = ("https://api2.openreview.net/notes", "https://api.openreview.net/notes")
    dblp: str = "https://dblp.org/search/publ/api"
    semantic_scholar: str = "https://api.semanticscholar.org/graph/v1/paper/"


@dataclass
class Client:
    """Asks registries.

    Args:
        bases: where they are.
        timeout: seconds to wait for a connection, and for the next bytes.
        total: seconds that an answer may take as a whole.
        retries: how often trouble is asked again.
        backoff: seconds before the first of these; they double.
        delays: seconds from one question to a host to the next; "" is every other host.
        cache: folder in which answers are kept; None keeps none.
        max_age: seconds for which they are used.
        offline: whether only kept answers are used, and nobody is asked.
    """

    bases: Bases = field(default_factory=Bases)
    timeout: tuple[float, float] = (10.0, 30.0)
    total: float = 90.0
    retries: int = 2
    backoff: float = 2.0
    delays: Mapping[str, float] = field(default_factory=lambda: {"export.arxiv.org": 3.0, "": 0.3})
    cache: Path | None = None
    max_age: float = 7 * 86400.0
    offline: bool = False
    _free_at: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def get(self, url: str, parameters: Mapping[str, str] | None = None) -> bytes | None:
        """Return what a registry answers; None where it does not know the thing that was asked for.

        Raises:
            UnreachableError: it cannot be reached, or must not be asked.
            NoAnswerError: it has trouble, or turns us away.
        """
        asked = requests.Request("GET", url, params=dict(parameters or {})).prepare().url or url
        kept = self._kept(asked)
        if kept is not None:
            return kept or None
        if self.offline:
            raise UnreachableError(f"{_host(asked)} is not asked")
        reason = ""
        code = 0
        wait: float = 0
        for attempt in range(self.retries + 1):
            self._take_turn(asked, wait)
            code, answer, header = self._ask(asked)
            if code == 200 or code in {404, 410}:
                found = answer if code == 200 else b""
                self._keep(asked, found)
                return found or None
            reason = f"answers {code}" if code else answer.decode()
            wait = retry_after(header, time.time()) or self.backoff * 2**attempt
            if wait > LONGEST_WAIT:
                raise NoAnswerError(f"{_host(asked)} asks to be left alone for {spoken(wait)}")
            if code and code != 429 and code < 500:
                break
        raise (NoAnswerError if code else UnreachableError)(f"{_host(asked)} {reason}")

    def json(self, url: str, parameters: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        """Return an answer in JSON; None where the registry does not know the thing that was asked for.

        Raises:
            NoAnswerError: as for `get`, or this is no JSON.
        """
        answer = self.get(url, parameters)
        if answer is None:
            return None
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise NoAnswerError(f"{_host(url)} gives no sensible answer")
        return found

    def _ask(self, url: str) -> tuple[int, bytes, str | None]:
        """Return status, body and Retry-After; status 0 and the reason where there is no answer at all."""
        headers = {"User-Agent": user_agent(), "Accept": "*/*"}
        deadline = time.monotonic() + self.total
        try:
            with requests.get(url, headers=headers, timeout=self.timeout, stream=True) as response:
                body = bytearray()
                for chunk in response.iter_content(65536):
                    body += chunk
                    if len(body) > LARGEST or time.monotonic() > deadline:
                        return 0, b"gives an answer that is too long", None
                return response.status_code, bytes(body), response.headers.get("Retry-After")
        except requests.Timeout:
            return 0, b"does not answer in time", None
        except (requests.RequestException, OSError) as error:
            return 0, f"cannot be asked ({type(error).__name__})".encode(), None

    def _take_turn(self, url: str, wait: float) -> None:
        host = _host(url)
        now = time.monotonic()
        start = max(now + wait, self._free_at.get(host, 0.0))
        time.sleep(start - now)
        self._free_at[host] = start + self.delays.get(host, self.delays.get("", 0.0))

    def _file(self, url: str) -> Path | None:
        if self.cache is None:
            return None
        return self.cache / "registries" / hashlib.sha256(url.encode()).hexdigest()[:32]

    def _kept(self, url: str) -> bytes | None:
        file = self._file(url)
        with suppress(OSError):  # not kept yet
            if file is not None and 0 <= time.time() - file.stat().st_mtime < self.max_age:
                return file.read_bytes()
        return None

    def _keep(self, url: str, answer: bytes) -> None:
        file = self._file(url)
        if file is None:
            return
        temporary = file.with_name(f".{file.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(answer)
            temporary.replace(file)
        except OSError:  # a full disk costs the cache, not the answer
            with suppress(OSError):
                temporary.unlink()


def user_agent() -> str:
    """Return how we introduce ourselves: name, version, the project's address, and the user's where it is given."""
    said = ["metadata of a literature survey"]
    with suppress(PackageNotFoundError):
        urls = metadata("qkb").get_all("Project-URL") or []
        said = [urls[0].rpartition(" ")[2], *said] if urls else said
    mailto = os.environ.get(MAILTO, "")
    if re.fullmatch(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", mailto, re.ASCII):
        said.append(f"mailto:{mailto}")
    return f"qkb/{__version__} ({'; '.join(said)})"


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
