"""Check that links still lead somewhere, and with --verify that they lead to the work that the record describes.

Looked at are the addresses behind identifiers (arXiv, DOI, OpenReview), the addresses of works, copies and code, and
the links in notes, in pages of the site, and in README, CONTRIBUTING and CHANGELOG. With IDs, only these records.

A link is dead only where that is certain: 404 or 410, or a host that does not exist. Servers that turn programs away
(403, 429, 999), that are slow, in trouble or badly certified leave it unknown. Links that have moved for good are named
with their new address, anchors are looked for in the page, and for dead links the place where an archive may have a
copy is named. Records are never changed. Addresses of this machine or of private networks are not asked.

Answers are kept with their history in .qkb/links.sqlite as they come. Only old ones are asked again: after --max-age
days, dead ones after one day, unknown ones after an hour. An interrupted run goes on where it stopped.

Exit codes: 0 nothing is broken, 1 a link is dead, refused, malformed or lacks its anchor, or could not be asked for
want of a network, or with --verify a work differs; 2 wrong usage; 130 interrupted.

Examples:
  qkb links
  qkb links xnor-net bnn --max-age 0
  qkb links --offline
  qkb links --only dead --format markdown
  qkb links --format github
  qkb links --verify xnor-net
"""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from qkb.errors import UsageError
from qkb.links.address import host_of
from qkb.links.collect import collect, known_ids
from qkb.links.history import DAY, History
from qkb.links.report import FORMATS, is_fault, render, row, summary
from qkb.options import add_common, write
from qkb.paths import locate

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from qkb.links.bar import Bar
    from qkb.links.check import Progress
    from qkb.links.collect import Link
    from qkb.links.job import Settings
    from qkb.links.network import Network
    from qkb.links.report import Row
    from qkb.metadata.http import Client
    from qkb.paths import Place
    from qkb.records.load import Papers

ONLY = ("dead", "moved", "unknown", "stale")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="check only these records (default: all, and the pages)")
    parser.add_argument(
        "--verify", action="store_true",
        help="ask the registries what is behind each identifier; compare title, authors and year with the record",
    )  # fmt: skip
    parser.add_argument(
        "--offline", action="store_true", help="ask nobody: list the links and check what they look like"
    )
    parser.add_argument(
        "--only", choices=ONLY, metavar="WHAT",
        help="only links that were dead (or broken otherwise), moved or unknown, or are stale: not asked for long",
    )  # fmt: skip
    parser.add_argument("--host", action="append", metavar="HOST", help="only links to this host; can be repeated")
    parser.add_argument(
        "--max-age", type=float, default=7.0, metavar="DAYS", help="ask again after so many days (default: 7)"
    )
    parser.add_argument("--all", action="store_true", help="show links that are well, too")
    parser.add_argument(
        "--workers",
        type=int,
        default=16,
        metavar="N",
        help="ask N hosts at once (default: 16); a host gets one question",
    )
    parser.add_argument(
        "--delay",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="from one question to a host to the next (default: 0.5)",
    )
    parser.add_argument(
        "--timeout", type=float, default=20.0, metavar="SECONDS",
        help="the longest silence of a server (default: 20); a link takes at most three times as long",
    )  # fmt: skip
    parser.add_argument(
        "--allow-private", action="store_true", help="ask addresses of this machine and of private networks, too"
    )
    parser.add_argument(
        "--proxy", action="store_true",
        help="use the proxy that the environment names; where a name leads is then the proxy's decision",
    )  # fmt: skip
    add_common(parser, FORMATS, "text")


def run(
    place: Place,
    ids: Iterable[str] = (),
    *,
    settings: Settings | None = None,
    offline: bool = False,
    only: str | None = None,
    hosts: Iterable[str] = (),
    max_age: float = 7.0,
    network: Network | None = None,
    tell: Callable[[str], None] | None = None,
    report: Callable[[Progress], None] | None = None,
) -> list[Row]:
    """Check links.

    Args:
        place: the library.
        ids: records; all of them and the pages when empty.
        settings: how to ask.
        offline: whether nobody is asked.
        only: one of ONLY.
        hosts: only links to these; all when empty.
        max_age: the age in days at which an answer is asked for again.
        network: the connections; default: guarded ones.
        tell: called with what the user should know.
        report: called with the progress.

    Returns:
        a row per link and place, by file and line.

    Raises:
        UsageError: an id is no record's.
    """
    from qkb.records.load import load_all  # noqa: PLC0415 (pydantic: only when records are read)

    papers = load_all(place)
    _tell_faults(papers, tell)
    links = chosen(collect(place, papers, ids), hosts)
    if offline:
        return [row(link, None) for link in links]
    from qkb.links.ask import Asker  # noqa: PLC0415 (requests: only where something is asked)
    from qkb.links.check import check, stale  # noqa: PLC0415
    from qkb.links.job import Settings  # noqa: PLC0415

    with History(place.cache(), tell) as history:
        now = time.time()
        if only is not None:
            links = [link for link in links if _is_wanted(row(link, history.known(link.url)), only)]
        askable = [link.url for link in links if not link.fault]
        old = stale(askable, history, max_age * DAY, now)
        if only == "stale":
            links = [link for link in links if link.url in set(old)]
        if old:
            done = check(old, Asker(settings or Settings(), network), history, report)
            if done.lost and tell is not None:
                tell(f"no name could be looked up for {done.lost} of the links: is this machine on the network?")
        return [row(link, history.known(link.url)) for link in links]


def run_verify(
    place: Place,
    ids: Iterable[str] = (),
    *,
    client: Client | None = None,
    max_age: float = 7.0,
    tell: Callable[[str], None] | None = None,
    bar: Bar | None = None,
) -> list[Row]:
    """Compare records with what the registries have behind their identifiers.

    Args:
        place: the library.
        ids: records; all of them when empty.
        client: asks the registries; default: with a cache in the library's cache folder.
        max_age: the age in days up to which the registries' answers are taken from the cache.
        tell: called with what the user should know.
        bar: shows the progress.

    Returns:
        a row per identifier, by file and line.

    Raises:
        UsageError: an id is no record's.
    """
    from qkb.links.verify import verify  # noqa: PLC0415 (requests)
    from qkb.metadata.http import Client  # noqa: PLC0415
    from qkb.records.load import load_all  # noqa: PLC0415 (pydantic)

    papers = load_all(place)
    _tell_faults(papers, tell)
    wanted = known_ids(papers, ids)
    client = client or Client(cache=place.cache(), max_age=max_age * DAY)
    return verify(papers, wanted, client, None if bar is None else bar.draw)


def chosen(links: Iterable[Link], hosts: Iterable[str]) -> list[Link]:
    """Return the links to some hosts; all where none is named."""
    wanted = {host.casefold() for host in hosts}
    return [link for link in links if not wanted or (not link.fault and host_of(link.url) in wanted)]


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    _check_usage(args)

    def tell(sentence: str) -> None:
        if not args.quiet:
            print(f"qkb links: {sentence}", file=sys.stderr)

    bar = None
    if sys.stderr.isatty() and not args.quiet:
        from qkb.links.bar import Bar  # noqa: PLC0415

        bar = Bar(sys.stderr)
    place = locate(args.root)
    try:
        with _terminable():
            if args.verify:
                rows = run_verify(place, args.ids, max_age=args.max_age, tell=tell, bar=bar)
            else:
                rows = run(
                    place,
                    args.ids,
                    settings=None if args.offline else _settings(args),
                    offline=args.offline,
                    only=args.only,
                    hosts=args.host or (),
                    max_age=args.max_age,
                    tell=tell,
                    report=bar,
                )
    except KeyboardInterrupt:
        if bar is not None:
            bar.clear()
        tell("interrupted: what was answered is kept, and the next run goes on from there")
        return 130
    if bar is not None:
        bar.clear()
    every = args.all or (args.offline and args.format == "text")
    write(render(rows, args.format, every=every), args.output)
    tell(summary(rows))
    failed = any(is_fault(each) or (each.status == "unasked" and not args.offline) for each in rows)
    return 1 if failed else 0


def _check_usage(args: argparse.Namespace) -> None:
    """Refuse numbers and options that make no sense."""
    for name, least in (("max_age", 0.0), ("delay", 0.0), ("timeout", 0.001), ("workers", 1)):
        if not least <= getattr(args, name) < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {getattr(args, name):g}: write a number from {least:g}")
    if args.offline and (args.verify or args.only):
        raise UsageError("--offline asks nobody; leave out --verify and --only")
    if args.verify and (args.only or args.host):
        raise UsageError("--verify asks the registries; leave out --only and --host")


def _settings(args: argparse.Namespace) -> Settings:
    from qkb.links.job import Settings  # noqa: PLC0415 (requests)

    return Settings(
        read=args.timeout,
        connect=min(args.timeout, 10.0),
        total=3 * args.timeout,
        workers=args.workers,
        delay=args.delay,
        allow_private=args.allow_private,
        proxy=args.proxy,
    )


def _tell_faults(papers: Papers, tell: Callable[[str], None] | None) -> None:
    faulty = len(papers.files) - len(papers.records)
    if faulty and tell is not None:
        whose = "1 record has" if faulty == 1 else f"{faulty} records have"
        tell(f"{whose} faults, so that links are left out; see qkb validate")


def _is_wanted(found: Row, only: str) -> bool:
    if only == "dead":
        return is_fault(found)
    return only in {"stale", found.status}


@contextmanager
def _terminable() -> Iterator[None]:
    """Let a request to terminate end a run as cleanly as an interrupt does."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: somebody else looks after signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
