from __future__ import annotations

from html.parser import HTMLParser

import markdown as converter  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import Markup

from qkb.site.markdown import attribute, code, fence, inline, link, plain, prose, table, text, visible

EXTENSIONS = [
    "admonition",
    "attr_list",
    "def_list",
    "md_in_html",
    "tables",
    "pymdownx.highlight",
    "pymdownx.superfences",
]
HOSTILE = (
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "a | b || c",
    "{{7*7}} {% raw %} {#x#}",
    "`code` ``more`` ```",
    "*bold* _em_ ~~gone~~ ==mark== ^^up^^",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "\\<b\\> \\\\ \\`",
    "# heading",
    "- item",
    "1. item",
    "> quote",
    "===",
    "---",
    "!!! note",
    "??? details",
    "~~~ python",
    ": definition",
    "[TOC]",
    "*[HTML]: abbreviation",
    "text {: .class onclick=alert(1) }",
    "{ #id }",
    "\x02klzzwxh:0000\x03 \x02wzxhzdk:0\x03",
    "\u202egnp.exe",
    "https://example.org/ <https://example.org>",
    "word\n\n    indented\n\nword",
    "a\tb  c",
)
words = st.text(st.characters(codec="utf-8"), max_size=40) | st.text("*_`[](){}<>|\\&#;!:~^=-+.1a \n\"'/", max_size=30)


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def read(markdown: str) -> Reader:
    reader = Reader()
    reader.feed(converter.markdown(markdown, extensions=EXTENSIONS))
    reader.close()
    return reader


def one_line(value: str) -> str:
    return " ".join(visible(value).split())


@given(words)
@example(HOSTILE[0])
def test_text_shows_exactly_the_value_in_a_paragraph(value: str) -> None:
    page = read(f"before {text(value)} after")
    assert page.tags == ["p"]
    assert page.text.split() == f"before {visible(value)} after".split()


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_text_stays_text_at_the_start_of_a_block(value: str) -> None:
    page = read(str(text(value)))
    assert page.tags == ["p"]
    assert page.text == one_line(value)


@given(words)
def test_text_stays_text_at_the_start_of_a_block(value: str) -> None:
    page = read(str(text(value)))
    assert page.tags == (["p"] if one_line(value) else [])
    assert page.text == one_line(value)


@given(words)
def test_text_stays_in_its_cell(value: str) -> None:
    page = read(str(table(["head", "other"], [[value, "right"]])))
    assert page.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    cells = [line for line in page.text.split("\n") if line]
    assert cells == [part for part in ["head", "other", one_line(value), "right"] if part]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_text_stays_in_a_heading_a_link_and_a_definition(value: str) -> None:
    assert read(f"# {text(value)}").tags == ["h1"]
    page = read(f"Term\n:   {link(value, 'papers/a.md')}")
    assert page.tags == ["dl", "dt", "dd", "a"]
    assert page.attributes == [("href", "papers/a.md")]
    assert page.text.split("\n")[-2:] == [one_line(value), ""] or one_line(value) in page.text


@given(words)
@example("a\n```\n<script>")
@example("`" * 9)
def test_a_fence_holds_its_content(value: str) -> None:
    page = read(f"before\n\n{fence(value, 'text')}\n\nafter")
    assert set(page.tags) <= {"p", "div", "pre", "span", "code"}
    assert page.tags.count("p") == 2
    assert page.text.strip().startswith("before")
    assert page.text.strip().endswith("after")


def test_a_fence_names_its_file_and_nothing_more() -> None:
    assert str(fence("x", "python", 'a/b.py" onclick="x')).splitlines()[0] == '```python title="a/b.py onclickx"'


@given(words)
def test_inline_shows_the_words_and_allows_only_code(value: str) -> None:
    page = read(f"before {inline(value)}")
    assert set(page.tags) <= {"p", "code"}
    assert "".join(page.text.split()) == "before" + "".join(visible(value).split()).replace("`", "") or "`" in page.text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a `b` c", "a <code>b</code> c"),
        ("`b`c", "<code>b</code>c"),
        ("a`b`", "a<code>b</code>"),
        ("`mean|W|` `x_i*2`", r"<code>mean&#124;W&#124;</code> <code>x\_i\*2</code>"),
        ("one ` only", r"one \` only"),
        ("`<b>` is not <b>", "<code>&lt;b&gt;</code> is not &lt;b&gt;"),
    ],
)
def test_inline(value: str, expected: str) -> None:
    assert inline(value) == expected


def test_prose_has_paragraphs_and_items() -> None:
    page = read(str(prose("One\ntwo.\n\n- a `b`\n- c *d*\n\n# three")))
    assert page.tags == ["p", "ul", "li", "code", "li", "p"]
    assert page.text.split() == ["One", "two.", "a", "b", "c", "*d*", "#", "three"]


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.example/",
        "http://",
        "https:///x",
        "ftp://example.org",
    ],
)
def test_no_link_leads_to_anything_but_pages_and_the_web(target: str) -> None:
    assert link("label", target) == "label"


@pytest.mark.parametrize(
    ("target", "href"),
    [
        ("https://example.org/a_(b)_c", "https://example.org/a_%28b%29_c"),
        ("https://example.org/?a=1&copy=2", "https://example.org/?a=1&copy=2"),
        ("https://example.org/a]b*c`d", "https://example.org/a%5Db%2Ac%60d"),
        ('https://example.org/"x"', "https://example.org/%22x%22"),
        ("../papers/a.md#claims", "../papers/a.md#claims"),
    ],
)
def test_links_keep_their_address(target: str, href: str) -> None:
    page = read(f"see {link('label', target)}.")
    assert page.tags == ["p", "a"]
    assert page.attributes == [("href", href)]
    assert page.text == "see label."


@given(words)
def test_an_attribute_cannot_be_left(value: str) -> None:
    page = read(f'<span title="{attribute(value)}">x</span>')
    assert page.tags == ["p", "span"]
    assert page.attributes == [("title", one_line(value))]


def test_markup_is_not_escaped_twice() -> None:
    assert table(["a"], [[Markup("**b**")]]).splitlines()[-1] == "| **b** |"
    assert link(Markup("**b**"), "a.md") == "[**b**](a.md)"
    assert code("a*b") == r"<code>a\*b</code>"


def test_plain_is_for_html() -> None:
    assert plain('</title>"&\n\x00') == "&lt;/title&gt;&quot;&amp;"
