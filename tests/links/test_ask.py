from __future__ import annotations

import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from shutil import which
from typing import TYPE_CHECKING

import pytest

from qkb.links.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qkb.links.network import Resolver
    from qkb.links.outcome import Outcome
    from tests.links.conftest import Server

    Ask = Callable[..., Outcome]


def test_a_page_that_answers(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/ok"))
    assert (outcome.status, outcome.code, outcome.reason) == ("ok", 200, "")
    assert server.asked == {"HEAD /ok": 1}


@pytest.mark.parametrize("code", [404, 410])
def test_dead_only_when_head_and_get_agree(server: Server, ask: Ask, code: int) -> None:
    outcome = ask(server.url(f"/code/{code}"))
    assert (outcome.status, outcome.code, outcome.reason) == ("dead", code, f"answers {code}")
    assert server.asked == {f"HEAD /code/{code}": 1, f"GET /code/{code}": 1}


@pytest.mark.parametrize("code", [400, 401, 402, 403, 405, 406, 418, 451, 501, 999])
def test_servers_that_turn_programs_away_are_unknown(server: Server, ask: Ask, code: int) -> None:
    outcome = ask(server.url(f"/code/{code}"))
    assert (outcome.status, outcome.code) == ("unknown", code)
    assert outcome.reason.startswith(f"answers {code}: ")
    assert server.asked.total() == 2


@pytest.mark.parametrize("code", [400, 403, 404, 405, 500, 501, 503])
def test_what_head_refuses_get_may_give(server: Server, ask: Ask, code: int) -> None:
    assert ask(server.url(f"/head-refused/{code}")).status == "ok"
    assert server.asked == {f"HEAD /head_refused/{code}": 1, f"GET /head_refused/{code}": 1}


def test_trouble_that_passes_is_asked_again(server: Server, ask: Ask) -> None:
    assert ask(server.url("/recovers")).status == "ok"
    assert server.asked == {"HEAD /recovers": 1, "GET /recovers": 2}


def test_trouble_that_stays_is_unknown(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/code/500"))
    assert (outcome.status, outcome.reason) == ("unknown", "answers 500")
    assert server.asked == {"HEAD /code/500": 1, "GET /code/500": 3}


def test_a_slow_server_is_waited_for(server: Server, ask: Ask) -> None:
    assert ask(server.url("/slow")).status == "ok"


def test_a_server_that_hangs_is_left(server: Server, ask: Ask) -> None:
    started = time.monotonic()
    outcome = ask(server.url("/hang"), read=0.2)
    assert (outcome.status, outcome.reason) == ("unknown", "is silent for 0.2 s")
    assert time.monotonic() - started < 4
    assert server.asked == {"HEAD /hang": 1, "GET /hang": 3}


@pytest.mark.parametrize("path", ["/drip-headers", "/drip-body#x"])
def test_a_server_that_drips_does_not_outlive_the_deadline(server: Server, ask: Ask, path: str) -> None:
    started = time.monotonic()
    outcome = ask(server.url(path), total=0.7)
    assert (outcome.status, outcome.reason) == ("unknown", "took longer than 0.7 s")
    assert time.monotonic() - started < 3


def test_resets_are_asked_again_and_named(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/reset"))
    assert (outcome.status, outcome.reason) == ("unknown", "resets the connection")
    assert server.asked == {"HEAD /reset": 1, "GET /reset": 3}


def test_a_server_that_speaks_no_http(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/garbage"))
    assert outcome.status == "unknown"
    assert outcome.reason.startswith("gives no sensible answer")


def test_a_port_where_nothing_listens(server: Server, ask: Ask) -> None:
    closed = server.url("/ok")
    server.shutdown()
    server.server_close()
    outcome = ask(closed)
    assert (outcome.status, outcome.reason) == ("unknown", "refuses the connection")


def test_a_permanent_redirect_names_the_new_address(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/to/301?/to/308?/ok"))
    assert (outcome.status, outcome.moved, outcome.final) == ("moved", server.url("/ok"), server.url("/ok"))
    assert outcome.reason == f"has moved to {server.url('/ok')}"


def test_only_the_permanent_beginning_of_a_way_is_a_new_address(server: Server, ask: Ask) -> None:
    assert ask(server.url("/to/302?/to/301?/ok")).status == "ok"
    outcome = ask(server.url("/to/301?/to/302?/ok"))
    assert (outcome.status, outcome.moved) == ("moved", server.url("/to/302?/ok"))


def test_a_page_that_became_a_front_page_is_worth_a_look(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/to/301?/"))
    assert outcome.status == "moved"
    assert "a front page: look whether the page is still there" in outcome.reason


def test_a_dead_end_names_the_way(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/to/301?/code/404"))
    assert (outcome.status, outcome.moved) == ("dead", "")
    assert outcome.reason == f"leads to {server.url('/code/404')}, which answers 404"


def test_a_circle_is_named(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/loop/a"))
    a, b = server.url("/loop/a"), server.url("/loop/b")
    assert (outcome.status, outcome.reason) == ("unknown", f"redirects in a circle: {a} -> {b} -> {a}")
    assert server.asked.total() == 4


def test_redirects_have_a_limit(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/deeper/0"), redirects=3)
    assert (outcome.status, outcome.reason) == ("unknown", "redirects more than 3 times")
    assert server.asked.total() == 8


def test_a_redirect_to_itself_with_a_cookie_is_no_circle(server: Server, ask: Ask) -> None:
    assert ask(server.url("/cookie")).status == "ok"


def test_cookies_do_not_stay_for_the_next_link(server: Server, ask: Ask) -> None:
    ask(server.url("/cookie"))
    ask(server.url("/cookie"))
    assert server.asked == {"HEAD /cookie": 4}


def test_a_redirect_to_nonsense(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/bad-location"))
    assert (outcome.status, outcome.code) == ("unknown", 301)
    assert outcome.reason == "leads to 'http://[oops/', which is no address"


def test_a_redirect_with_odd_letters_is_quoted(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/odd-location"))
    assert outcome.status in {"moved", "dead"}
    assert outcome.final.isascii()
    assert " " not in outcome.final


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("ftp://files.example/x", "only http and https addresses are links"),
        ("file:///etc/passwd", "only http and https addresses are links"),
        ("javascript:alert(1)", "only http and https addresses are links"),
        ("http://ada:secret@files.example/", "it carries a name or a password: take it out"),
    ],
)
def test_redirects_to_what_is_no_link_are_refused(server: Server, ask: Ask, target: str, why: str) -> None:
    outcome = ask(server.url(f"/to/302?{target}"))
    assert outcome.status == "refused"
    assert outcome.reason.endswith(why)


@pytest.mark.parametrize("url", ["ftp://a.example", "http://a:b@c.example/", "http:///x", "http://a b.example/", ""])
def test_what_is_no_link_is_not_asked(ask: Ask, url: str) -> None:
    assert ask(url).status == "refused"


def test_a_burst_of_429_is_waited_out(server: Server, ask: Ask) -> None:
    assert ask(server.url("/burst")).status == "ok"
    first, second, third = server.times["burst"]
    assert second - first >= 1
    assert third - second >= 1


def test_a_date_is_waited_for(server: Server, ask: Ask) -> None:
    assert ask(server.url("/until")).status == "ok"
    first, second = server.times["until"]
    assert 0.9 <= second - first < 3


def test_429_without_a_time_backs_off_and_ends_unknown(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/code/429"))
    assert (outcome.status, outcome.reason) == ("unknown", "answers 429: has had too many questions")
    assert server.asked.total() == 3


def test_a_host_that_asks_for_too_much_peace_gets_it(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/leave-me"))
    assert (outcome.status, outcome.code) == ("unknown", 429)
    assert outcome.reason == "answers 429: 127.0.0.1 asks to be left alone for 24 h"
    assert server.asked.total() == 1


@pytest.mark.parametrize(
    "path",
    ["/ok#set-up", "/ok#old", "/ok#usage", "/ok#l%C3%B6ss", "/ok#in-script", "/packed#set-up", "/latin#gr%C3%B6%C3%9Fe",
     "/lying#here", "/to/302?/ok#set-up"],
)  # fmt: skip
def test_anchors_that_are_there(server: Server, ask: Ask, path: str) -> None:
    outcome = ask(server.url(path))
    assert (outcome.status, outcome.reason) == ("ok", "")
    assert not any(question.startswith("HEAD") for question in server.asked)


@pytest.mark.parametrize("anchor", ["nowhere", "not-an-anchor", "x"])
def test_anchors_that_are_missing(server: Server, ask: Ask, anchor: str) -> None:
    outcome = ask(server.url(f"/ok#{anchor}"))
    assert (outcome.status, outcome.code, outcome.reason) == ("anchor", 200, f"the page has no anchor #{anchor}")


@pytest.mark.parametrize(
    "path", ["/ok#top", "/ok#", "/ok#L10-L20", "/ok#:~:text=x", "/ok#/route", "/pdf#page=3", "/pdf#x"]
)
def test_fragments_that_are_no_anchors(server: Server, ask: Ask, path: str) -> None:
    assert ask(server.url(path)).status == "ok"


def test_of_an_endless_page_only_the_beginning_is_read(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/endless#x"), page_bytes=100_000)
    assert (outcome.status, outcome.reason) == ("unknown", "the first 100,000 bytes have no anchor #x")
    server.over.set()
    assert server.sent < 20_000_000  # what fits into the buffers of the system


def test_a_page_is_not_read_where_no_anchor_is_wanted(server: Server, ask: Ask) -> None:
    assert ask(server.url("/endless")).status == "ok"
    assert server.sent == 0


def test_a_page_that_unpacks_to_a_great_deal(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/bomb#x"), page_bytes=100_000, total=20.0, read=10.0)
    assert (outcome.status, outcome.reason) == ("unknown", "the first 100,000 bytes have no anchor #x")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/badly-packed#x", "the page cannot be unpacked"),
        ("/brotli#x", "the page is packed as br, which was not asked for"),
    ],
)
def test_pages_that_cannot_be_unpacked(server: Server, ask: Ask, path: str, reason: str) -> None:
    outcome = ask(server.url(path))
    assert (outcome.status, outcome.reason) == ("unknown", reason)


class _Plain(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A server with a certificate that it signed itself, for 127.0.0.1; its port and its certificate."""
    if which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=here",
               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Plain)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield int(server.server_address[1]), certificate
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_certificates(tls: tuple[int, Path], ask: Ask, names: Callable[..., Resolver]) -> None:
    port, certificate = tls
    trusted = ask(f"https://127.0.0.1:{port}/", ca=str(certificate))
    assert (trusted.status, trusted.reason) == ("ok", "")
    self_signed = ask(f"https://127.0.0.1:{port}/")
    assert (self_signed.status, self_signed.reason) == ("unknown", "TLS: self-signed certificate")
    network = Network(names(other_example="127.0.0.1"), allow_private=True)
    other = ask(f"https://other.example:{port}/", network, ca=str(certificate))
    assert other.status == "unknown"
    assert other.reason.startswith("TLS: Hostname mismatch")


def test_a_server_without_tls_behind_https(server: Server, ask: Ask) -> None:
    outcome = ask(server.url("/ok").replace("http:", "https:"))
    assert (outcome.status, outcome.reason) == ("unknown", "TLS: no secure connection can be made")


def test_a_proxy_is_used_only_when_wanted(
    server: Server, ask: Ask, names: Callable[..., Resolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    network = Network(names(inside_example="10.0.0.1"))
    assert ask("http://only-the-proxy-knows.example/ok", network).status == "dead"
    assert ask("http://10.0.0.1/ok", network, proxy=True).status == "refused"
    assert ask("http://inside.example/ok", network, proxy=True).status == "refused"
    assert not server.asked
    assert ask("http://only-the-proxy-knows.example/ok", network, proxy=True).status == "ok"
    assert server.asked == {"HEAD /ok": 1}
