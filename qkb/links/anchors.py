"""Reads the beginning of a page, however large it claims or unpacks to be, and finds its anchors."""

from __future__ import annotations

import codecs
import re
import zlib
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

CHUNK = 65536
CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
# Attributes inside scripts that hold the page as JSON.
IN_SCRIPTS = re.compile(r"\b(?:id|name)=\\+(?:\"|u0022)(.*?)\\+(?:\"|u0022)")
# Fragments that are no anchors: the top, text to mark, routes and lines of applications, places in other media.
NO_ANCHOR = re.compile(r"top|:~:.*|[!/].*|L\d+(?:C\d+)?(?:-L\d+(?:C\d+)?)?|[\w-]+=.*", re.IGNORECASE)


class BadPageError(Exception):
    """A page that cannot be read; the message says why."""


class Body(Protocol):
    """What this module needs of urllib3's response."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by name in any case."""

    def read(self, amt: int, *, decode_content: bool) -> bytes:
        """Return the next bytes."""


def is_anchor(fragment: str) -> bool:
    """Tell whether a fragment names an anchor that HTML can have.

    >>> is_anchor("usage"), is_anchor("L10-L20"), is_anchor("page=3"), is_anchor(":~:text=a")
    (True, False, False, False)
    """
    return bool(fragment) and not NO_ANCHOR.fullmatch(fragment)


def read(body: Body, limit: int) -> tuple[bytes, bool]:
    """Return at most `limit` unpacked bytes of a page, and whether this is all of it.

    Raises:
        BadPageError: it cannot be unpacked.
    """
    packing = body.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise BadPageError(f"the page is packed as {packing[:40]}, which was not asked for")
    unpack = zlib.decompressobj(wbits=47) if packing not in {"", "identity"} else None
    found = bytearray()
    while len(found) <= limit:
        packed = body.read(CHUNK, decode_content=False)
        if not packed:
            return bytes(found), True
        if unpack is None:
            found += packed
            continue
        try:
            found += unpack.decompress(packed, limit + 1 - len(found))
        except zlib.error as error:
            raise BadPageError("the page cannot be unpacked") from error
        if unpack.eof:
            return bytes(found[:limit]), len(found) <= limit
    return bytes(found[:limit]), False


def decode(page: bytes, content_type: str) -> str:
    r"""Return the text of a page; its encoding is what the server, else the page says, else UTF-8, and may be wrong.

    >>> decode(b"caf\xe9", "text/html; charset=latin-1")
    'café'
    >>> decode(b"plain", "text/html; charset=no-such-thing")
    'plain'
    """
    named = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    in_page = CHARSET.search(page[:4096])
    for name in (named[1] if named else "", in_page[1].decode("ascii", "replace") if in_page else "", "utf-8"):
        try:
            if name and codecs.lookup(name)._is_text_encoding:
                return page.decode(name, "replace")
        except (LookupError, UnicodeError, ValueError):
            continue
    return page.decode("utf-8", "replace")


def has_anchor(text: str, fragment: str) -> bool:
    """Tell whether HTML has an anchor of this name.

    >>> has_anchor('<h2 id="set-up">', "set-up"), has_anchor("<a name='x'>", "y")
    (True, False)
    """
    parser = _Anchors()
    parser.feed(text)
    parser.close()
    known = parser.found | {unescape(name) for name in IN_SCRIPTS.findall(text)}
    wanted = {fragment, unquote(fragment)}
    return not known.isdisjoint(wanted | {f"user-content-{name}" for name in wanted})


class _Anchors(HTMLParser):
    """Collects the names that a fragment can point to."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if value and (key == "id" or (key == "name" and tag in {"a", "map"})):
                self.found.add(value)
