"""Connections that go only where they may, and end when their time is over.

A name is resolved once, every address behind it is checked, and the connection goes to a checked address, not to the
name: a name that answers differently a moment later gains nothing. One watcher cuts connections that outlive their
deadline, however slowly they drip, and all of them when a run is stopped.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError

from qkb.links.address import private

if TYPE_CHECKING:
    from collections.abc import Callable

    Lookup = Callable[[str, int], list[tuple[int, tuple[Any, ...]]]]

TICK = 0.05


class RefusedError(Exception):
    """An address that must not be asked; the message says why."""


class NoAddressError(Exception):
    """A name without address.

    Args:
        message: what happened.
        certain: whether the name servers said that there is none, rather than nothing.
    """

    def __init__(self, message: str, *, certain: bool) -> None:
        super().__init__(message)
        self.certain = certain


def system_lookup(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Return the address families and socket addresses of a host, as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


class Resolver:
    """Looks up names, each once in a run, and gives up on a name server that does not answer.

    Args:
        lookup: asks the name servers.
        patience: seconds to wait for them.
    """

    def __init__(self, lookup: Lookup = system_lookup, patience: float = 10.0) -> None:
        self._lookup = lookup
        self._patience = patience
        self._known: dict[tuple[str, int], list[tuple[int, tuple[Any, ...]]] | NoAddressError] = {}
        self._lock = threading.Lock()
        self.works = False  # whether any name had an address

    def addresses(self, host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
        """Return the families and socket addresses of a host.

        Raises:
            NoAddressError: it has none.
        """
        with self._lock:
            answer = self._known.get((host, port))
        if answer is None:
            answer = self._ask(host, port)
            with self._lock:
                self._known[host, port] = answer
                self.works = self.works or not isinstance(answer, NoAddressError)
        if isinstance(answer, NoAddressError):
            raise NoAddressError(str(answer), certain=answer.certain)
        return answer

    def _ask(self, host: str, port: int) -> list[tuple[int, tuple[Any, ...]]] | NoAddressError:
        answers: queue.SimpleQueue[list[tuple[int, tuple[Any, ...]]] | NoAddressError] = queue.SimpleQueue()

        def ask() -> None:
            try:
                found = self._lookup(host, port)
                answers.put(found or NoAddressError(f"{host} has no address", certain=True))
            except socket.gaierror as error:
                certain = error.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
                message = f"there is no host {host}" if certain else f"the name servers do not answer for {host}"
                answers.put(NoAddressError(message, certain=certain))
            except UnicodeError:
                answers.put(NoAddressError(f"{host} is no name of a host", certain=True))
            except OSError as error:
                answers.put(NoAddressError(f"{host} cannot be looked up ({error})", certain=False))

        threading.Thread(target=ask, daemon=True).start()  # nothing can interrupt a lookup
        try:
            return answers.get(timeout=self._patience)
        except queue.Empty:
            return NoAddressError(f"the name servers do not answer for {host}", certain=False)


class Watch:
    """Cuts the connection of a thread whose time is over, and all connections when the run stops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[int, tuple[float, socket.socket | None]] = {}
        self._cut: set[int] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, seconds: float) -> None:
        """Start the clock for what this thread does next."""
        me = threading.get_ident()
        with self._lock:
            self._lines[me] = (time.monotonic() + seconds, None)
            self._cut.discard(me)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def hold(self, line: socket.socket | None) -> None:
        """Name the socket that this thread uses now."""
        me = threading.get_ident()
        with self._lock:
            if me in self._lines:
                self._lines[me] = (self._lines[me][0], line)
                if self._stopped.is_set():
                    self._shut(me)

    def left(self) -> float:
        """Return how many seconds this thread still has."""
        with self._lock:
            deadline, _ = self._lines.get(threading.get_ident(), (float("inf"), None))
        return deadline - time.monotonic()

    def end(self) -> bool:
        """Stop the clock; tell whether the connection was cut."""
        me = threading.get_ident()
        with self._lock:
            self._lines.pop(me, None)
            return me in self._cut

    def stop(self) -> None:
        """Cut everything, and end the watching."""
        self._stopped.set()
        with self._lock:
            for thread in list(self._lines):
                self._shut(thread)

    def _run(self) -> None:
        while not self._stopped.wait(TICK):
            now = time.monotonic()
            with self._lock:
                for thread, (deadline, _) in list(self._lines.items()):
                    if now >= deadline:
                        self._shut(thread)

    def _shut(self, thread: int) -> None:
        self._cut.add(thread)
        line = self._lines[thread][1]
        if line is not None:
            with suppress(OSError):  # closed in the meantime
                socket.socket.shutdown(line, socket.SHUT_RDWR)  # the base class's: TLS would want to say goodbye


class Network:
    """What all connections of a run share.

    Args:
        resolver: looks up names.
        allow_private: whether addresses that are not of the public internet may be asked.
    """

    def __init__(self, resolver: Resolver | None = None, *, allow_private: bool = False) -> None:
        self.resolver = resolver or Resolver()
        self.watch = Watch()
        self.allow_private = allow_private

    def check(self, host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
        """Return where a host can be reached.

        Raises:
            RefusedError: it can be reached at an address that must not be asked.
            NoAddressError: it has none.
        """
        found = self.resolver.addresses(host, port)
        for _, address in found:
            self._check(host, str(address[0]))
        return found

    def connect(self, host: str, port: int, timeout: float, *, guarded: bool) -> socket.socket:
        """Connect to a host at an address that has been checked, unless not `guarded`."""
        found = self.check(host, port) if guarded else self.resolver.addresses(host, port)
        failure = OSError(f"{host} has no address")
        for family, address in found:
            line = socket.socket(family, socket.SOCK_STREAM)
            try:
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                line.settimeout(max(min(timeout, self.watch.left()), 0.01))
                self.watch.hold(line)
                line.connect(address)
                if guarded:
                    self._check(host, str(line.getpeername()[0]))
                line.settimeout(timeout)
            except OSError as error:
                line.close()
                failure = error
            except BaseException:
                line.close()
                raise
            else:
                return line
        raise failure

    def _check(self, host: str, address: str) -> None:
        why = "" if self.allow_private else private(address)
        if why:
            named = host if host.strip("[]") == address else f"{host} is {address},"
            raise RefusedError(f"{named}: {why}" if named == host else f"{named} {why}")


class Adapter(HTTPAdapter):
    """Sends requests over guarded and watched connections; the way through a proxy is watched only."""

    def __init__(self, network: Network, per_host: int) -> None:
        self._network = network
        super().__init__(pool_connections=64, pool_maxsize=per_host)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool of connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = pools(self._network, guarded=True)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Make the pool of connections to a proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = pools(self._network, guarded=False)
        return manager


def pools(network: Network, *, guarded: bool) -> dict[str, type[HTTPConnectionPool]]:
    """Return the classes of urllib3 with connections of ours."""

    class Watched(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            timeout = float(self.timeout) if isinstance(self.timeout, int | float) else 60.0
            try:
                return network.connect(self._dns_host, self.port, timeout, guarded=guarded)
            except TimeoutError as error:
                raise ConnectTimeoutError(self, f"{self.host} does not take the connection") from error

        def connect(self) -> None:
            super().connect()
            network.watch.hold(self.sock)

        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.sock is not None:  # kept from the last request
                network.watch.hold(self.sock)
            super().request(*args, **kwargs)

    class WatchedTls(Watched, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Watched

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = WatchedTls

    return {"http": Pool, "https": TlsPool}
