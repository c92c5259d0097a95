"""Asks for one link, one request at a time, and judges the answers.

A link is *dead* only where that is certain: its server says 404 or 410 to a HEAD and to a GET, or its host does not
exist. Servers that turn programs away, are slow or in trouble, leave it *unknown*.
"""

from __future__ import annotations

import os
import ssl
import time
from dataclasses import replace
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urljoin, urlsplit, urlunsplit

import requests
from requests.cookies import extract_cookies_to_jar
from requests.exceptions import ConnectTimeout, SSLError, Timeout
from requests.utils import get_environ_proxies, requote_uri
from urllib3.exceptions import HTTPError

from qkb import __version__
from qkb.links import anchors
from qkb.links.address import private, wrong
from qkb.links.anchors import BadPageError
from qkb.links.network import Adapter, Network, NoAddressError, RefusedError
from qkb.links.outcome import Outcome, Wait
from qkb.links.waiting import retry_after, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qkb.links.job import Job, Settings
    from qkb.links.outcome import Status

REDIRECTS = frozenset((301, 302, 303, 307, 308))
PERMANENT = frozenset((301, 308))
GONE = frozenset((404, 410))
WORDS = {
    401: "asks for a password",
    402: "asks for money",
    403: "turns programs away",
    405: "allows neither HEAD nor GET",
    429: "has had too many questions",
    451: "is closed for legal reasons",
    999: "turns programs away",
}


class Asker:
    """Asks for links; threads share one.

    Args:
        settings: how.
        network: the connections; default: guarded ones as the settings say.
    """

    def __init__(self, settings: Settings, network: Network | None = None) -> None:
        self.settings = settings
        self.network = network or Network(allow_private=settings.allow_private)
        self._adapter = Adapter(self.network, settings.per_host)
        self._verify = settings.ca or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._closed: dict[str, str] = {}  # hosts that asked for more peace than we wait for

    def close(self) -> None:
        """Cut all connections; whoever waits for one gets an answer at once."""
        self.network.watch.stop()
        self._adapter.close()

    def step(self, job: Job) -> Outcome | Wait:
        """Send one request for a link and judge the answer; a `Wait` says that this was not the last one."""
        settings = self.settings
        fault = wrong(job.at)
        if fault:
            return self._end(job, "refused", f"leads to {job.at[:200]!r}: {fault}" if job.way else fault)
        if job.host in self._closed:
            return self._end(job, "unknown", self._closed[job.host])
        state = (job.method, job.at, repr(sorted((c.domain, c.path, c.name, c.value) for c in job.cookies)))
        if state in job.seen or len(job.way) > settings.redirects:
            return self._circle(job, circle=state in job.seen)
        job.seen.add(state)
        if job.spent >= settings.total:
            return self._end(job, "unknown", f"took longer than {spoken(settings.total)}")
        watch = self.network.watch
        started = time.monotonic()
        watch.begin(settings.total - job.spent)
        answer: Outcome | Wait | None = None
        failure: Exception | None = None
        try:
            method = job.method
            with self._send(job) as response:
                answer = self._judge(job, response)
                if method == "HEAD":
                    response.raw.drain_conn()  # there is no body: the connection can be kept
        except RefusedError as error:
            where = f"leads to {job.at}: " if job.way else ""
            answer = self._end(job, "refused", f"{where}{error}")
        except NoAddressError as error:
            answer = self._nowhere(job, error)
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError, BadPageError) as error:
            failure = error
        cut = watch.end()
        job.spent += time.monotonic() - started
        if cut:
            return self._end(job, "unknown", f"took longer than {spoken(settings.total)}")
        return answer or self._failed(job, failure or OSError("no answer"))

    def _send(self, job: Job) -> requests.Response:
        address, _ = urldefrag(job.at)
        headers = {
            "User-Agent": f"Mozilla/5.0 (compatible; qkb/{__version__}; link check of a literature survey)",
            "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
            "Accept-Encoding": "gzip, identity",
            "Accept-Language": "en,*;q=0.5",
        }
        request = requests.Request(job.method, address, headers=headers, cookies=job.cookies).prepare()
        proxies: dict[str, str] = {}
        if self.settings.proxy:
            proxies = {key: value for key, value in get_environ_proxies(address).items() if value}
            if urlsplit(address).scheme in proxies:
                self._check_name(address)
        timeouts = (self.settings.connect, self.settings.read)
        response = self._adapter.send(request, True, timeouts, self._verify, None, proxies)
        extract_cookies_to_jar(job.cookies, request, response.raw)  # type: ignore[no-untyped-call]
        return response

    def _check_name(self, address: str) -> None:
        """Refuse what this machine knows to be private; the proxy may know other names."""
        parts = urlsplit(address)
        host = parts.hostname or ""
        try:
            self.network.check(host, parts.port or 443)
        except NoAddressError:
            if not self.settings.allow_private and private(host) not in {"", "no address of the network"}:
                raise RefusedError(f"{host}: {private(host)}") from None

    def _judge(self, job: Job, response: requests.Response) -> Outcome | Wait:
        code = response.status_code
        location = response.headers.get("Location")
        if code in REDIRECTS and location is not None:
            return self._follow(job, code, location)
        if 200 <= code < 300:
            return self._seek(job, response)
        if code == 429 or (code == 503 and "Retry-After" in response.headers):
            return self._patient(job, code, response.headers.get("Retry-After"))
        if job.method == "HEAD":
            return self._again(job)
        if code >= 500 and code not in {501, 999}:
            return self._retry(job, f"answers {code}", code)
        reason = f"answers {code}" if code in GONE else f"answers {code}: {WORDS.get(code, 'nothing about the page')}"
        return self._end(job, "dead" if code in GONE else "unknown", reason, code)

    def _follow(self, job: Job, code: int, location: str) -> Outcome | Wait:
        try:
            target = location.encode("latin-1").decode("utf-8", "replace")
        except UnicodeError:
            target = location
        try:
            base, fragment = urldefrag(job.at)
            parts = urlsplit(urljoin(base, target.strip()))
            target = urlunsplit(parts._replace(path=requote_uri(parts.path), query=requote_uri(parts.query)))
            if fragment and not urldefrag(target).fragment:
                target = f"{urldefrag(target).url}#{fragment}"
        except ValueError:
            return self._end(job, "unknown", f"leads to {location[:200]!r}, which is no address", code)
        job.way.append(job.at)
        job.permanent = job.permanent and code in PERMANENT
        if job.permanent:
            job.moved = target
        job.at = target
        return Wait()

    def _found(self, job: Job, code: int) -> Outcome:
        if not job.moved:
            return self._end(job, "ok", "", code)
        reason = f"has moved to {job.moved}"
        if urlsplit(job.moved).path.strip("/") == "" and urlsplit(job.url).path.strip("/") != "":
            reason += ", a front page: look whether the page is still there"
        return self._end(job, "moved", reason, code)

    def _seek(self, job: Job, response: requests.Response) -> Outcome | Wait:
        """Look for the anchor, where the link has one."""
        fragment = urldefrag(job.at).fragment
        kind = response.headers.get("Content-Type", "text/html").lower()
        if not anchors.is_anchor(fragment) or "html" not in kind:
            return self._found(job, response.status_code)
        if job.method == "HEAD":
            return self._again(job)
        page, whole = anchors.read(response.raw, self.settings.page_bytes)
        if anchors.has_anchor(anchors.decode(page, kind), fragment):
            return self._found(job, response.status_code)
        if not whole:
            reason = f"the first {self.settings.page_bytes:,} bytes have no anchor #{fragment}"
            return self._end(job, "unknown", reason, response.status_code)
        return self._end(job, "anchor", f"the page has no anchor #{fragment}", response.status_code)

    def _patient(self, job: Job, code: int, header: str | None) -> Outcome | Wait:
        seconds = retry_after(header, time.time())
        host = job.host
        if seconds is not None and seconds > self.settings.longest_wait:
            self._closed[host] = f"{host} asks to be left alone for {spoken(seconds)}"
            return self._end(job, "unknown", f"answers {code}: {self._closed[host]}", code)
        outcome = self._retry(job, f"answers {code}: {WORDS[429]}", code)
        if isinstance(outcome, Outcome):
            return outcome
        return Wait(outcome.seconds if seconds is None else seconds, whole_host=True)

    def _failed(self, job: Job, error: Exception) -> Outcome | Wait:
        """Judge a failure below HTTP."""
        roots = list(_roots(error))
        if any(isinstance(root, ssl.SSLError | SSLError) for root in roots):
            named = (root.verify_message for root in roots if isinstance(root, ssl.SSLCertVerificationError))
            return self._end(job, "unknown", f"TLS: {next(named, '') or 'no secure connection can be made'}")
        if isinstance(error, BadPageError):
            return self._end(job, "unknown", str(error))
        if job.method == "HEAD" and not isinstance(error, ConnectTimeout):
            return self._again(job)
        for kinds, reason in (
            (ConnectTimeout, "does not take the connection in time"),
            ((TimeoutError, Timeout), f"is silent for {spoken(self.settings.read)}"),
            (ConnectionRefusedError, "refuses the connection"),
            (ConnectionResetError, "resets the connection"),
        ):
            if any(isinstance(root, kinds) for root in roots):
                return self._retry(job, reason)
        return self._retry(job, f"gives no sensible answer ({type(roots[-1]).__name__})")

    def _nowhere(self, job: Job, error: NoAddressError) -> Outcome | Wait:
        if not error.certain:
            outcome = self._retry(job, str(error))
            return replace(outcome, doubtful=True) if isinstance(outcome, Outcome) else outcome
        where = f"leads to {job.at}: " if job.way else ""
        return Outcome(job.url, "dead", f"{where}{error}", None, job.at, "", doubtful=True)

    def _again(self, job: Job) -> Wait:
        """Ask in full: many servers know no HEAD, or answer it wrongly."""
        job.method = "GET"
        return Wait()

    def _retry(self, job: Job, reason: str, code: int | None = None) -> Outcome | Wait:
        job.tries += 1
        if job.tries > self.settings.retries:
            return self._end(job, "unknown", reason, code)
        job.seen.clear()
        return Wait(self.settings.backoff * 2 ** (job.tries - 1))

    def _circle(self, job: Job, *, circle: bool) -> Outcome | Wait:
        if job.method == "HEAD":
            job.restart("GET")
            return Wait()
        if not circle:
            return self._end(job, "unknown", f"redirects more than {self.settings.redirects} times")
        first = job.way.index(job.at) if job.at in job.way else 0
        shown = [*job.way[first:][:4], *(["..."] if len(job.way) - first > 4 else []), job.at]
        return self._end(job, "unknown", f"redirects in a circle: {' -> '.join(shown)}")

    def _end(self, job: Job, status: Status, reason: str, code: int | None = None) -> Outcome:
        if job.way and status in {"dead", "unknown"} and not reason.startswith(("leads", "redirects")):
            reason = f"leads to {job.at}, which {reason}"
        return Outcome(job.url, status, reason, code, job.at, job.moved if status == "moved" else "")


def _roots(error: BaseException) -> Iterator[BaseException]:
    """Walk to everything that caused an error; libraries wrap errors in several ways."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting and len(seen) < 30:
        found = waiting.pop(0)
        if isinstance(found, BaseException) and not any(found is known for known in seen):
            seen.append(found)
            waiting += [*found.args, found.__cause__, found.__context__, getattr(found, "reason", None)]
    yield from seen
