r"""Text from records made safe for Markdown pages.

Records come from strangers. Every value that reaches a page goes through `text`, `code`, `link`, `prose` or
`fence`; each returns `Markup`, which templates print as it is, while a plain `str` is escaped on the way out. What
has a meaning in Markdown or HTML becomes a backslash escape or a character reference, so the pages read the same in
Python-Markdown, CommonMark and GitHub's dialect.
"""

from __future__ import annotations

import html
import re
import string
from collections.abc import Iterable, Sequence
from typing import Final

from markupsafe import Markup

# Control characters would reach the Markdown converter's own placeholders, and direction marks make a text
# read otherwise than it is.
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]"
)
_ESCAPES: Final = str.maketrans(
    {c: f"\\{c}" for c in "\\`*_[]"} | {c: f"&#{ord(c)};" for c in "|~{}^"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
)
_NUMBERED: Final = re.compile(r"^(\d+)([.)])(?=\s|$)")
_CODE_SPAN: Final = re.compile(r"`([^`\n]+)`")
_WEB: Final = re.compile(r"https?://[^\s/?#]+[^\s]*\Z")
_SCHEME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_IN_TARGET: Final = {c: f"%{ord(c):02X}" for c in " ()[]<>\"'`\\|{}^*"}


def visible(value: object) -> str:
    """Return the value as text without control characters and direction marks."""
    return _UNSEEN.sub("", str(value))


def text(value: object) -> Markup:
    r"""Return one line that shows exactly the value and means nothing else.

    >>> print(text("<b>1*2*3</b> | `x` {{7*7}}"))
    &lt;b&gt;1\*2\*3&lt;/b&gt; &#124; \`x\` &#123;&#123;7\*7&#125;&#125;
    >>> print(text("1. no list"), text("# no heading"), text("- no item"))
    1\. no list &#35; no heading &#45; no item
    """
    line = " ".join(visible(value).split())
    first = f"&#{ord(line[0])};" if line and line[0] in "#+-=:!?%@~$" else ""
    escaped = (line[1:] if first else line).translate(_ESCAPES)
    return Markup(first + _NUMBERED.sub(r"\1\\\2", escaped))  # noqa: S704 (this is the escaping)


def code(value: object) -> Markup:
    """Return inline code, also inside a table.

    >>> print(code("mean|W|"))
    <code>mean&#124;W&#124;</code>
    """
    return Markup("<code>{}</code>").format(text(value))


def inline(value: object) -> Markup:
    r"""Return one line in which `code spans` keep their meaning, and nothing else does.

    >>> print(inline("with `a*b` bits, *really*"))
    with <code>a\*b</code> bits, \*really\*
    """
    parts = _CODE_SPAN.split(" ".join(visible(value).split()))
    # The split yields text and code in turns; `text` drops outer spaces, which belong to the sentence here.
    return joined(code(part) if i % 2 else _spaced(part, first=i == 0) for i, part in enumerate(parts))


def _spaced(part: str, *, first: bool) -> Markup:
    body = text(part) if first else text("x" + part)[1:]
    trailing = " " if part.strip() and part[-1:].isspace() else ""
    return Markup(" " if not part.strip() and part else "") + Markup(body) + trailing  # noqa: S704


def prose(value: object) -> Markup:
    r"""Return paragraphs: blank lines separate them, `code spans` are code, lines that start with `- ` are items.

    >>> print(prose("One\ntwo.\n\n- a\n- b"))
    One two.
    <BLANKLINE>
    - a
    - b
    """
    blocks = []
    for block in re.split(r"\n\s*\n", visible(value).strip()):
        lines = [line.strip() for line in block.splitlines()]
        if all(line.startswith("- ") for line in lines):
            blocks.append(joined((Markup("- ") + inline(line[2:]) for line in lines), "\n"))
        else:
            blocks.append(inline(" ".join(lines)))
    return joined(blocks, "\n\n")


def link(label: object, target: str, title: str = "") -> Markup:
    r"""Return a link to a page of ours or to the web; any other address gives the label alone.

    >>> print(link("a [b]", "https://example.org/x_(y)?a=1&b"))
    [a \[b\]](https://example.org/x_%28y%29?a=1&amp;b)
    >>> print(link("a", "javascript:alert(1)"))
    a
    """
    shown = label if isinstance(label, Markup) else text(label)
    address = "".join(visible(target).split())
    if (_SCHEME.match(address) and not _WEB.match(address)) or address.startswith("//"):
        return shown
    safe = "".join(_IN_TARGET.get(c, c) for c in address).replace("&", "&amp;")
    hint = f' "{attribute(title)}"' if title else ""
    return Markup(f"[{shown}]({safe}{hint})")  # noqa: S704


def attribute(value: object) -> Markup:
    """Return the value for use between double quotes, in an HTML tag or a link's title.

    >>> print(attribute('a "b" [c]'))
    a &quot;b&quot; &#91;c&#93;
    """
    line = html.escape(" ".join(visible(value).split()))
    return Markup(re.sub(r"[\\`*_\[\](){}|!~^]", lambda m: f"&#{ord(m[0])};", line))  # noqa: S704


def fence(content: str, language: str = "", title: str = "") -> Markup:
    """Return a fenced block that its content cannot close.

    >>> print(fence("a", "yaml"))
    ```yaml
    a
    ```
    """
    body = visible(content).replace("\t", "    ").strip("\n")
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    head = f"{language} title={title_value(title)}" if title else language
    return Markup(f"{ticks}{head}\n{body}\n{ticks}")  # noqa: S704


def title_value(title: str) -> str:
    """Return a fence's title in quotes; what could end it is left out."""
    keep = set(string.ascii_letters + string.digits + " ._-/")
    return '"' + "".join(c for c in title if c in keep) + '"'


def table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a Markdown table; cells are escaped unless they are `Markup`.

    >>> print(table(["a"], [["x|y"], [Markup("*z*")]]))
    | a |
    | --- |
    | x&#124;y |
    | *z* |
    """
    lines = [_row(heads), Markup("| " + " | ".join("---" for _ in heads) + " |")]  # noqa: S704 (only dashes)
    lines += [_row(row) for row in rows]
    return joined(lines, "\n")


def _row(cells: Sequence[object]) -> Markup:
    return (
        Markup("| ")
        + joined((cell if isinstance(cell, Markup) else text(cell) for cell in cells), " | ")
        + Markup(" |")
    )


def joined(parts: Iterable[Markup], separator: str = "") -> Markup:
    """Return the parts, which are safe already, in one text."""
    return Markup(separator).join(parts)  # noqa: S704 (separators are ours)


def plain(value: object) -> str:
    """Return the value for the front matter, whose values the theme prints into HTML without escaping."""
    return html.escape(" ".join(visible(value).split()))
