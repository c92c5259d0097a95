"""What text may stand in a file of the library: visible characters, and Markdown that is safe on a page.

The texts of a record become Markdown pages, and records come from strangers. The site escapes what it prints; this
module refuses what has no business in a record in the first place.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 256 * 1024

# Characters that nobody sees in an editor; tab, line feed and carriage return are the ones allowed.
UNSEEN = re.compile(
    "["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters
    "\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"  # of no width, or turning the direction of text
    "\u2028\u2029"  # line ends that few programs know
    "\ud800-\udfff\ufeff\ufffe\uffff"  # no characters
    "]"
)

# A text is looked at closely only where one of these stands in it; they are quick to find in a whole file.
MARKUP_HINTS = ("<", "&", "![", "](", "]:", "{:", ":::")
ATTRIBUTE_HINT = re.compile(r"\{[^{}\n]*=")
# Code may say anything: the site shows it letter by letter.
LINE_END = re.compile(r"(?<!\n)\n(?!\s*\n)")
CODE_SPAN = re.compile(r"`[^`\n]+`")
MARKUP = (
    (re.compile(r"<[A-Za-z/!?][^\n<]{0,20}"), "looks like an HTML tag: put it in `backticks`, or a space after `<`"),
    (re.compile(r"&(?:#[0-9]+|#[xX][0-9A-Fa-f]+|[A-Za-z][A-Za-z0-9]*);"), "is an HTML entity: write the character"),
    (re.compile(r"!\[[^\]\n]{0,20}"), "begins an image: a record has none; put code in `backticks`"),
    (
        re.compile(r"\{:[^}\n]{0,20}|\{[^{}\n]*\b(?:on[a-z]+|style|src|href|srcdoc|formaction)\s*=[^}\n]{0,20}"),
        "looks like attributes of an element: remove it, or put it in `backticks`",
    ),
    (re.compile(r"-{0,20}8<-[^\n]{0,20}"), "looks like an inclusion of a file: remove it"),
    (re.compile(r"(?:^|(?<= )):::[^\n]{0,20}"), "looks like a block of an extension: remove it"),
)
LINK = re.compile(r"\]\(\s*<?([^\s)>]*)|^ {0,3}\[[^\]\n]*\]:\s*<?([^\s>]*)", re.MULTILINE)
SAFE_LINK = re.compile(r"https?://", re.IGNORECASE)


def shorten(text: str, width: int = 60) -> str:
    r"""Return a text short enough, and plain enough, to stand in a message.

    >>> shorten("a  line\nand another", 12)
    'a line an...'
    """
    flat = UNSEEN.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    return flat if len(flat) <= width else flat[: width - 3] + "..."


def wrong_text(source: bytes) -> list[tuple[int, str]]:
    """List what keeps the bytes of a file from being a short, plain UTF-8 text: (line, message)."""
    if len(source) > MAX_BYTES:
        return [(1, f"the file is longer than {MAX_BYTES // 1024} kB: shorten or split it")]
    if source.startswith(b"\xef\xbb\xbf"):
        return [(1, "the file begins with a byte order mark: save it as UTF-8 without one")]
    if source.startswith((b"\xff\xfe", b"\xfe\xff")):
        return [(1, "the file is UTF-16: save it as UTF-8")]
    try:
        text = source.decode()
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        return [(line, f"byte 0x{source[error.start]:02x} is not UTF-8: save the file as UTF-8")]
    if text.replace("\n", "").isprintable():  # true of nearly every file, and quick to tell
        return []
    found = ((number, UNSEEN.search(line)) for number, line in enumerate(text.split("\n"), 1))
    return [(line, f"character U+{ord(match[0]):04X} cannot be seen: remove it") for line, match in found if match]


def may_be_unsafe(text: str) -> bool:
    """Tell, quickly, whether `unsafe` has to look at a text or at anything in a file."""
    return any(hint in text for hint in MARKUP_HINTS) or ATTRIBUTE_HINT.search(text) is not None


def unsafe(text: str) -> Iterator[str]:
    """Yield what a text would do on a page beyond being read: HTML, images, attributes, links to anything but http.

    The site shows all this letter by letter; other programs that read the records may not.
    """
    if not may_be_unsafe(text):
        return
    prose = CODE_SPAN.sub("`", LINE_END.sub(" ", text))
    for pattern, message in MARKUP:
        match = pattern.search(prose)
        if match:
            yield f"`{shorten(match[0], 24)}` {message}"
    for match in LINK.finditer(prose):
        target = html.unescape(match[1] or match[2] or "")
        if not SAFE_LINK.match(target):
            what = f"the link to `{shorten(target, 24)}` is no web address"
            yield f"{what}: link to http:// or https://, or put code in `backticks`"


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted path and the text of every text in plain data."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, tuple | list):
        for index, inner in enumerate(value):
            yield from texts(inner, f"{path}[{index}]")
