from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from qkb.commands.links import run_verify
from qkb.errors import UsageError
from qkb.links.report import Row, is_fault, render
from qkb.links.verify import differences, same_person, same_title
from qkb.metadata.http import Bases, Client
from qkb.metadata.work import Work
from qkb.records.load import load_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from qkb.records.model import Record
    from tests.conftest import LibraryMaker

ENTRY = """<entry><id>http://arxiv.org/abs/{id}v2</id><published>{year}-05-01T00:00:00Z</published>
<title>{title}</title>{authors}</entry>"""


def feed(*entries: tuple[str, int, str, list[str]]) -> str:
    texts = (
        ENTRY.format(
            id=name, year=year, title=title, authors="".join(f"<author><name>{a}</name></author>" for a in who)
        )
        for name, year, title, who in entries
    )
    return f'<feed xmlns="http://www.w3.org/2005/Atom">{"".join(texts)}</feed>'


def article(title: str, families: list[str], year: int) -> str:
    authors = [{"given": "X.", "family": family} for family in families]
    return json.dumps({"message": {"title": [title], "author": authors, "issued": {"date-parts": [[year]]}}})


def note(title: str, authors: list[str]) -> str:
    content = {"title": {"value": title}, "authors": {"value": authors}}
    return json.dumps({"notes": [{"id": "abcDEF12", "cdate": 1475280000000, "content": content}]})


@pytest.fixture
def answers() -> dict[str, tuple[int, str]]:
    """Path -> status and body, as the registries answer."""
    return {}


@pytest.fixture
def client(answers: dict[str, tuple[int, str]]) -> Iterator[Client]:
    """Asks registries on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = answers.get(unquote(urlsplit(self.path).path), (404, ""))
            self.send_response(code)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    bases = Bases(f"{base}/arxiv", f"{base}/crossref/", f"{base}/datacite/", (f"{base}/openreview",))
    yield Client(bases, timeout=(2.0, 2.0), retries=0, delays={})
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def record(library: LibraryMaker) -> Record:
    """A record of 2016: "Scaled Sign Networks" by Chen Ode and Ada Lind."""
    return load_all(library.place).records["scaled-sign"]


def shown(rows: list[Row]) -> dict[str, tuple[str, str]]:
    return {f"{row.record}.{row.path}": (row.status, row.reason) for row in rows}


def test_what_agrees_and_what_does_not(
    library: LibraryMaker, client: Client, answers: dict[str, tuple[int, str]]
) -> None:
    library.record(
        "reviewed", 2017, links={"openreview": "abcDEF12"}, title="A Reviewed Work on Bits", authors=["Ada Lind"]
    )
    answers["/arxiv"] = (200, feed(
        ("1511.00001", 2015, "Tiny Sign: Networks with One-Bit  Weights", ["Ada Lind", "Bo Ru&#237;z"]),
        ("1701.00002", 2001, "Galaxy Rotation Curves at Low Redshift", ["Eve Star", "Dee Moss"]),
    ))  # fmt: skip
    answers["/crossref/10.5555/scaled.sign"] = (200, article("Scaled sign networks.", ["Lind", "Ode"], 2016))
    answers["/openreview"] = (200, note("A Reviewed Work on Bits", ["Ada Lind"]))
    rows = run_verify(library.place, client=client)
    title = "arXiv: another work: the title is 'Galaxy Rotation Curves at Low Redshift'"
    year = "arXiv: the year is 2001, not 2017"
    assert shown(rows) == {
        "tiny-sign.links.arxiv": ("ok", ""),
        "scaled-sign.links.doi": ("differs", "Crossref: the authors' order is X. Lind, X. Ode"),
        "wide-steps.links.arxiv": ("differs", f"{title}; arXiv: the record lacks Eve Star; {year}"),
        "reviewed.links.openreview": ("ok", ""),
    }
    wrong = next(row for row in rows if row.record == "wide-steps")
    lines = (library.root / wrong.file).read_text().splitlines()
    assert "1701.00002" in lines[wrong.line - 1]
    assert wrong.url == "https://arxiv.org/abs/1701.00002"
    assert is_fault(wrong)
    assert f"{wrong.file}:{wrong.line}: links.arxiv: differs: {wrong.url} arXiv: another work" in render(rows, "text")


def test_what_nobody_knows_is_dead_and_trouble_is_unknown(
    library: LibraryMaker, client: Client, answers: dict[str, tuple[int, str]]
) -> None:
    answers["/arxiv"] = (500, "")
    found = shown(run_verify(library.place, client=client))
    assert found["tiny-sign.links.arxiv"] == ("unknown", "127.0.0.1 answers 500")
    assert found["scaled-sign.links.doi"] == ("dead", "the registry does not know it")
    answers["/arxiv"] = (200, feed())
    answers["/crossref/10.5555/scaled.sign"] = (200, '{"message": {}}')
    found = shown(run_verify(library.place, client=client))
    assert found["tiny-sign.links.arxiv"] == ("dead", "the registry does not know it")
    assert found["scaled-sign.links.doi"] == ("unknown", "Crossref says neither title nor authors")


def test_only_the_records_asked_for(library: LibraryMaker, client: Client) -> None:
    assert [row.record for row in run_verify(library.place, ["scaled-sign"], client=client)] == ["scaled-sign"]
    with pytest.raises(UsageError, match="there is no record 'zebra'"):
        run_verify(library.place, ["zebra"], client=client)


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({}, "doi", []),
        ({"title": "SCALED-SIGN NETWORKS"}, "doi", []),
        ({"title": "Scaled Signs Networks"}, "doi", []),
        ({"title": "Scaled Sign Networks for Speech"}, "doi", ["the title is 'Scaled Sign Networks for Speech'"]),
        ({"title": "Scaled", "subtitle": "Sign Networks"}, "doi", []),
        ({"title": ""}, "doi", []),
        ({"authors": ("Ode, Chen", "A. Lind")}, "doi", []),
        ({"authors": ()}, "doi", []),
        ({"authors": ("Ada Lind", "Chen Ode")}, "doi", ["the authors' order is Ada Lind, Chen Ode"]),
        ({"authors": ("Chen Ode",)}, "doi", ["Ada Lind is not among the authors"]),
        ({"authors": ("Chen Ode", "Ada Lind", "Bo Ruiz")}, "doi", ["the record lacks Bo Ruiz"]),
        (
            {"authors": ("Chen Ode", "Bo Ruiz")},
            "doi",
            ["the record lacks Bo Ruiz, and Ada Lind is not among the authors"],
        ),
        ({"years": (2017,)}, "doi", []),
        ({"years": (2018,)}, "doi", ["the year is 2018, not 2016"]),
        ({"years": (2013,)}, "arxiv", []),
        ({"years": (2012,)}, "arxiv", ["the year is 2012, not 2016"]),
        ({"years": (2017,)}, "arxiv", []),
        ({"years": (2018, 2019)}, "arxiv", ["the year is 2018 or 2019, not 2016"]),
        ({"years": ()}, "arxiv", []),
    ],
)
def test_differences(record: Record, changes: dict[str, Any], key: str, expected: list[str]) -> None:
    told = {"title": "Scaled Sign Networks", "authors": ("Chen Ode", "Ada Lind"), "years": (2016,), **changes}
    assert differences(record, Work("Crossref", **told), key) == expected


def test_an_alias_is_a_title_too(library: LibraryMaker) -> None:
    library.record("renamed", title="The Published Title of a Work", aliases=["The First Title of a Work"])
    record = load_all(library.place).records["renamed"]
    assert differences(record, Work("arXiv", "The first title of a work"), "arxiv") == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Bits: $k$-bit nets", "Bits: k-bit nets", True),
        ("Naïve Bits", "Naive bits", True),
        ("BNN", "QNN", False),
        ("Quantization of networks with four bits", "Quantisation of networks with four bits", True),
        ("Training with 2 bits", "Training with 4 bits", False),
    ],
)
def test_titles(one: str, other: str, same: bool) -> None:
    assert same_title(one, other) is same
    assert same_title(other, one) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("Itay Hubara", "I. Hubara", True), ("Ran El-Yaniv", "Ran El Yaniv", True), ("Song Han", "Han Song", True),
     ("Guillermo Gallego", "G. Gallegos", False), ("Łukasz Ørsted", "Lukasz Orsted", True),
     ("A. B. Lind Jr.", "Ada Lind", True), ("", "Ada", False), ("Yoshua Bengio", "Samy Bengio", True)],
)  # fmt: skip
def test_people(one: str, other: str, same: bool) -> None:
    assert same_person(one, other) is same
