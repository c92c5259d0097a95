from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from qkb.links import network as network_module
from qkb.links.address import private
from qkb.links.network import Network, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from qkb.links.network import Resolver
    from qkb.links.outcome import Outcome
    from tests.links.conftest import Server

    Ask = Callable[..., Outcome]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "127.1", "0x7f000001", "[::ffff:127.0.0.1]"])
def test_this_machine_is_not_asked(server: Server, ask: Ask, host: str) -> None:
    outcome = ask(server.url("/ok", host), allow_private=False)
    assert outcome.status == "refused"
    assert "this machine" in outcome.reason
    assert not server.asked


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
     "0.0.0.0", "fd00:ec2::254", "fe80::1", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1",  # noqa: S104
     "2002:7f00:1::", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_names_that_lead_to_private_addresses_are_refused(
    ask: Ask, names: Callable[..., Resolver], address: str
) -> None:
    outcome = ask("http://inside.example/", Network(names(inside_example=address)), allow_private=False)
    assert outcome.status == "refused"
    assert outcome.reason.startswith(f"inside.example is {address}, a")


def test_one_private_address_among_public_ones_is_enough(ask: Ask, names: Callable[..., Resolver]) -> None:
    mixed = Network(names(mixed_example=["93.184.216.34", "10.0.0.1"]))
    assert ask("https://mixed.example/", mixed).status == "refused"


@pytest.fixture
def loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take 127.0.0.1, and nothing else of this machine, for an address of the internet."""
    monkeypatch.setattr(network_module, "private", lambda address: "" if address == "127.0.0.1" else private(address))


@pytest.mark.parametrize(
    "target",
    ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://127.0.0.2/", "http://[::1]/",
     "http://inside.example/", "https://inside.example:8443/x", "//inside.example/"],
)  # fmt: skip
@pytest.mark.usefixtures("loopback_is_public")
def test_redirects_to_private_addresses_are_refused(
    server: Server, ask: Ask, names: Callable[..., Resolver], target: str
) -> None:
    guarded = Network(names(inside_example="192.168.0.7"))
    outcome = ask(server.url(f"/to/301?{target}"), guarded)
    assert outcome.status == "refused"
    assert outcome.reason.startswith("leads to http")
    assert server.asked.total() == 1


@pytest.mark.usefixtures("loopback_is_public")
def test_a_name_that_changes_its_mind_gains_nothing(server: Server, ask: Ask) -> None:
    answers = iter(["127.0.0.1", "127.0.0.2", "127.0.0.2"])

    def lookup(_: str, port: int) -> list[tuple[int, tuple[str, int]]]:
        return [(socket.AF_INET, (next(answers), port))]

    rebinding = Network(network_module.Resolver(lookup))
    assert ask(server.url("/ok", "rebind.example"), rebinding).status == "ok"
    assert ask(server.url("/code/404", "rebind.example"), rebinding).status == "dead"
    assert next(answers) == "127.0.0.2", "the name was looked up once"


def test_the_connection_itself_is_checked_before_anything_is_sent(
    server: Server, ask: Ask, names: Callable[..., Resolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = socket.socket.connect
    diverted: list[object] = []

    def divert(line: socket.socket, address: tuple[str, int]) -> None:
        diverted.append(address)
        connect(line, ("127.0.0.1", server.port))

    monkeypatch.setattr(socket.socket, "connect", divert)
    outcome = ask("http://public.example/ok", Network(names(public_example="93.184.216.34")))
    assert outcome.status == "refused"
    assert diverted == [("93.184.216.34", 80)]
    assert not server.asked


def test_names_that_do_not_exist(ask: Ask, names: Callable[..., Resolver]) -> None:
    outcome = ask("https://gone.example/x", Network(names()))
    assert (outcome.status, outcome.reason, outcome.doubtful) == ("dead", "there is no host gone.example", True)


def test_name_servers_in_trouble(ask: Ask) -> None:
    def fail(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
        raise socket.gaierror(socket.EAI_AGAIN, "again")

    outcome = ask("https://gone.example/x", Network(network_module.Resolver(fail)))
    assert (outcome.status, outcome.reason) == ("unknown", "the name servers do not answer for gone.example")


def test_name_servers_that_hang(ask: Ask) -> None:
    over = threading.Event()

    def hang(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
        over.wait(10)
        return []

    started = time.monotonic()
    outcome = ask("https://gone.example/x", Network(network_module.Resolver(hang, 0.2)))
    over.set()
    assert outcome.status == "unknown"
    assert time.monotonic() - started < 3


def test_the_watch_cuts_what_takes_too_long_and_nothing_else() -> None:
    watch = Watch()
    near, far = socket.socketpair()
    with near, far:
        watch.begin(30)
        watch.hold(near)
        assert 29 < watch.left() <= 30
        assert watch.end() is False
        watch.begin(0.1)
        watch.hold(near)
        near.settimeout(5)
        assert near.recv(1) == b"", "the connection was cut while it waited"
        assert watch.end() is True
        assert watch.left() == float("inf")
    watch.stop()


def test_after_its_end_the_watch_cuts_at_once() -> None:
    watch = Watch()
    watch.stop()
    near, far = socket.socketpair()
    with near, far:
        watch.begin(30)
        watch.hold(near)
        assert near.recv(1) == b""
        assert watch.end() is True
