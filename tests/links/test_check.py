from __future__ import annotations

import _thread
import itertools
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qkb.links.ask import Asker
from qkb.links.check import Done, Progress, check, stale
from qkb.links.history import DAY, History
from qkb.links.network import Network, Resolver
from qkb.links.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qkb.links.job import Settings
    from tests.links.conftest import Server

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from pathlib import Path
from qkb.links.ask import Asker
from qkb.links.check import check, stale
from qkb.links.history import History
from qkb.links.job import Settings
import time
folder, *urls = sys.argv[1:]
settings = Settings(delay=0.01, workers=4, per_host=2, retries=0, allow_private=True)
with History(Path(folder)) as history:
    print("ready", flush=True)
    print(check(stale(urls, history, 3600, time.time()), Asker(settings), history).asked, flush=True)
"""


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path) as history:
        yield history


def begin(folder: Path, urls: list[str]) -> subprocess.Popen[str]:
    """Start a run in a process of its own; return when it begins to ask."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", RUN, str(folder), *urls]
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    return run


def statuses(history: History, urls: list[str]) -> list[str | None]:
    return [known.status if (known := history.known(url)) else None for url in urls]


def test_answers_are_kept_and_only_old_ones_asked_again(
    server: Server, history: History, quick: Callable[..., Settings]
) -> None:
    urls = [server.url("/ok"), server.url("/code/404"), server.url("/code/403"), server.url("/to/301?/ok")]
    assert stale(urls, history, 7 * DAY, time.time()) == urls
    seen: list[Progress] = []
    assert check(urls, Asker(quick()), history, seen.append) == Done(4)
    assert [(each.done, each.total) for each in seen] == [(done, 4) for done in range(5)]
    assert statuses(history, urls) == ["ok", "dead", "unknown", "moved"]
    now = time.time()
    assert stale(urls, history, 7 * DAY, now) == []
    assert stale(urls, history, 7 * DAY, now + 2 * 3600) == [urls[2]]
    assert stale(urls, history, 7 * DAY, now + 2 * DAY) == [urls[1], urls[2]]
    assert stale(urls, history, 7 * DAY, now + 8 * DAY) == urls
    assert stale(urls, history, 0, now) == urls
    assert stale(urls, history, 7 * DAY, now - DAY) == urls, "answers from the future are not believed"


def test_nothing_to_ask(history: History, quick: Callable[..., Settings]) -> None:
    assert check([], Asker(quick()), history) == Done(0)


@pytest.mark.parametrize("per_host", [1, 2])
def test_a_host_is_not_asked_by_more_than_its_limit(
    server: Server, history: History, quick: Callable[..., Settings], per_host: int
) -> None:
    urls = [server.url(f"/slow?{number}") for number in range(4)]
    check(urls, Asker(quick(per_host=per_host)), history)
    assert server.most_at_once == per_host
    assert statuses(history, urls) == ["ok"] * 4


def test_requests_to_a_host_keep_their_distance(
    server: Server, history: History, quick: Callable[..., Settings]
) -> None:
    check([server.url(f"/ok?{number}") for number in range(4)], Asker(quick(delay=0.15)), history)
    times = server.times["ok"]
    assert all(after - before > 0.13 for before, after in itertools.pairwise(times))


def test_redirects_count_for_the_host_they_lead_to(
    server: Server, history: History, quick: Callable[..., Settings], names: Callable[..., Resolver]
) -> None:
    hosts = {f"from{number}_example": "127.0.0.1" for number in range(4)}
    target = server.url("/slow", "target.example")
    urls = [server.url(f"/to/302?{target}", f"from{number}.example") for number in range(4)]
    network = Network(names(target_example="127.0.0.1", **hosts), allow_private=True)
    check(urls, Asker(quick(), network), history)
    assert statuses(history, urls) == ["ok"] * 4
    assert all(after - before > 0.28 for before, after in itertools.pairwise(server.times["slow"]))


def test_others_go_on_while_one_host_wants_peace(
    server: Server, history: History, quick: Callable[..., Settings], names: Callable[..., Resolver]
) -> None:
    network = Network(names(busy_example="127.0.0.1", free_example="127.0.0.1"), allow_private=True)
    busy = [server.url("/burst", "busy.example"), server.url("/ok?busy", "busy.example")]
    free = [server.url(f"/ok?{number}", "free.example") for number in range(5)]
    order: list[str] = []
    check(
        [*busy, *free],
        Asker(quick(workers=1), network),
        history,
        lambda p: order.append(p.last.url) if p.last else None,
    )
    assert set(order[:5]) == set(free), "nobody sleeps while others could go"
    assert statuses(history, busy) == ["ok", "ok"]


def test_after_a_long_retry_after_the_host_is_left_alone(
    server: Server, history: History, quick: Callable[..., Settings]
) -> None:
    urls = [server.url("/leave-me"), *(server.url(f"/ok?{number}") for number in range(3))]
    check(urls, Asker(quick(workers=1)), history)
    assert statuses(history, urls) == ["unknown"] * 4
    assert server.asked.total() == 1
    known = history.known(urls[1])
    assert known is not None
    assert known.reason == "127.0.0.1 asks to be left alone for 24 h"


def test_without_a_network_nothing_is_learned(
    history: History, quick: Callable[..., Settings], names: Callable[..., Resolver]
) -> None:
    urls = ["https://one.example/", "https://two.example/"]
    history.keep(Outcome(urls[0], "ok", "", 200), 1.0)
    assert check(urls, Asker(quick(), Network(names())), history) == Done(2, 2)
    assert statuses(history, urls) == ["ok", None]


def test_without_name_servers_nothing_is_learned(history: History, quick: Callable[..., Settings]) -> None:
    def fail(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
        raise socket.gaierror(socket.EAI_AGAIN, "again")

    assert check(["https://one.example/"], Asker(quick(), Network(Resolver(fail))), history) == Done(1, 1)
    assert statuses(history, ["https://one.example/"]) == [None]


def test_a_host_that_does_not_exist_is_dead_where_others_do(
    server: Server, history: History, quick: Callable[..., Settings], names: Callable[..., Resolver]
) -> None:
    urls = ["https://gone.example/", server.url("/slow", "here.example")]
    network = Network(names(here_example="127.0.0.1"), allow_private=True)
    check(urls, Asker(quick(workers=1), network), history)
    assert statuses(history, urls) == ["dead", "ok"]


def test_a_fault_of_ours_ends_the_run(server: Server, history: History, quick: Callable[..., Settings]) -> None:
    class Broken(Asker):
        def step(self, job: Any) -> Any:  # noqa: ARG002
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check([server.url("/ok")], Broken(quick()), history)


def test_an_interrupt_ends_the_run_and_the_next_one_goes_on(
    server: Server, history: History, quick: Callable[..., Settings]
) -> None:
    urls = [*(server.url(f"/ok?{number}") for number in range(5)), server.url("/hang"), server.url("/ok?last")]
    settings = quick(workers=1, read=15.0, total=15.0)
    threading.Timer(1.0, _thread.interrupt_main).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        check(urls, Asker(settings), history)
    assert time.monotonic() - started < 5, "a hanging server does not hold the run"
    assert statuses(history, urls) == ["ok"] * 5 + [None, None]
    server.over.set()
    left = stale(urls, history, DAY, time.time())
    assert left == urls[5:]
    assert check(left, Asker(quick()), history) == Done(2)
    assert server.asked["HEAD /ok"] == 6


def test_a_killed_run_loses_only_what_was_in_flight(server: Server, tmp_path: Path) -> None:
    urls = [server.url(f"/ok?{number}") for number in range(2000)]
    run = begin(tmp_path, urls)
    while server.asked.total() < 100:
        time.sleep(0.005)
    run.kill()
    run.communicate(timeout=10)
    asked = server.asked.total()
    with History(tmp_path) as history:
        kept = sum(history.known(url) is not None for url in urls)
        assert asked - 20 <= kept <= asked
        left = stale(urls, history, DAY, time.time())
        assert len(left) == len(urls) - kept
    again = begin(tmp_path, urls[:150])
    out, err = again.communicate(timeout=30)
    assert (out, err, again.returncode) == (f"{max(150 - kept, 0)}\n", "", 0)


def test_two_runs_at_once_share_the_work(server: Server, tmp_path: Path) -> None:
    urls = [server.url(f"/ok?{number}") for number in range(120)]
    runs = [begin(tmp_path, urls), begin(tmp_path, urls[::-1])]
    answers = [run.communicate(timeout=60) for run in runs]
    assert [err for _, err in answers] == ["", ""]
    asked = sum(int(out) for out, _ in answers)
    assert len(urls) <= asked <= len(urls) + 16, "only links in flight are asked twice"
    assert server.asked.total() == asked
    with History(tmp_path) as history:
        assert statuses(history, urls) == ["ok"] * 120
        assert all(sum(period.times for period in history.periods(url)) <= 2 for url in urls)


def test_an_interrupted_process_ends_at_once(server: Server, tmp_path: Path) -> None:
    run = begin(tmp_path, [server.url("/ok"), server.url("/hang")])
    with History(tmp_path) as history:
        while not server.asked["HEAD /hang"] or history.known(server.url("/ok")) is None:
            time.sleep(0.01)
    started = time.monotonic()
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=10)
    assert time.monotonic() - started < 5
    assert run.returncode != 0
    with History(tmp_path) as history:
        assert statuses(history, [server.url("/ok"), server.url("/hang")]) == ["ok", None]


@pytest.mark.slow
def test_five_thousand_links_in_one_run(
    server: Server, history: History, quick: Callable[..., Settings], names: Callable[..., Resolver]
) -> None:
    ways = [
        "/ok",
        "/ok#set-up",
        "/code/404",
        "/code/403",
        "/to/301?/ok",
        "/head-refused/405",
        "/ok#nowhere",
        "/ok",
        "/ok",
        "/ok",
    ]
    hosts = [f"h{number}.example" for number in range(250)]
    network = Network(names(**{host.replace(".", "_"): "127.0.0.1" for host in hosts}), allow_private=True)
    urls = [server.url(way if "#" in way or "?" in way else f"{way}?{host}{turn}", host).replace(
        "#", f"?{turn}#") for host in hosts for turn, way in enumerate(ways * 2)]  # fmt: skip
    urls = [url if "/to/" not in url else f"{url}?{place}" for place, url in enumerate(urls)]
    assert len(set(urls)) == 5000
    started = time.monotonic()
    asker = Asker(quick(workers=16, delay=0.02, read=20.0, total=60.0, connect=20.0), network)
    assert check(urls, asker, history) == Done(5000)
    took = time.monotonic() - started
    found = statuses(history, urls)
    counts = {status: found.count(status) for status in set(found)}
    assert counts == {"ok": 3000, "dead": 500, "unknown": 500, "moved": 500, "anchor": 500}
    assert took < 60
    assert threading.active_count() < 60


def test_a_broken_file_is_put_aside(tmp_path: Path, server: Server, quick: Callable[..., Settings]) -> None:
    (tmp_path / "links.sqlite").write_bytes(b"SQLite format 3\x00" + os.urandom(5000))
    told: list[str] = []
    with History(tmp_path, told.append) as history:
        check([server.url("/ok")], Asker(quick()), history)
        assert statuses(history, [server.url("/ok")]) == ["ok"]
    assert told[0].startswith("links.sqlite cannot be read")
    assert (tmp_path / "links.sqlite.broken").is_file()
    with closing(sqlite3.connect(tmp_path / "links.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM links").fetchone() == (1,)
