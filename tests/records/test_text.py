from __future__ import annotations

import pytest

from qkb.records.text import may_be_unsafe, shorten, texts, unsafe, wrong_text

NO_ADDRESS = " is no web address: link to http:// or https://, or put code in `backticks`"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<b>bold</b>", "`<b>bold` looks like an HTML tag: put it in `backticks`, or a space after `<`"),
        (
            "x <script src=//a>",
            "`<script src=//a>` looks like an HTML tag: put it in `backticks`, or a space after `<`",
        ),
        ("a </div> b", "`</div> b` looks like an HTML tag: put it in `backticks`, or a space after `<`"),
        ("<!-- hidden", "`<!-- hidden` looks like an HTML tag: put it in `backticks`, or a space after `<`"),
        ("<?php", "`<?php` looks like an HTML tag: put it in `backticks`, or a space after `<`"),
        ("R&amp;D", "`&amp;` is an HTML entity: write the character"),
        ("&#106;ava", "`&#106;` is an HTML entity: write the character"),
        ("&#x6A;ava", "`&#x6A;` is an HTML entity: write the character"),
        ("![seen](https://a.example/x.png)", "`![seen` begins an image: a record has none; put code in `backticks`"),
        (
            "word{: onclick=x }",
            "`{: onclick=x` looks like attributes of an element: remove it, or put it in `backticks`",
        ),
        (
            "`x`{ onmouseover=alert(1) }",
            "`{ onmouseover=alert(1)` looks like attributes of an element: remove it, or put it in `backticks`",
        ),
        ('--8<-- "/etc/passwd"', '`--8<-- "/etc/passwd"` looks like an inclusion of a file: remove it'),
        ("::: os.system", "`::: os.system` looks like a block of an extension: remove it"),
        (
            "[x](javascript:alert(1))",
            f"the link to `javascript:alert(1`{NO_ADDRESS}",
        ),
        (
            "[x]( data:text/html,hi )",
            f"the link to `data:text/html,hi`{NO_ADDRESS}",
        ),
        (
            "[x]: javascript:alert(1)",
            f"the link to `javascript:alert(1)`{NO_ADDRESS}",
        ),
        (
            "[x](/papers/)",
            f"the link to `/papers/`{NO_ADDRESS}",
        ),
    ],
)
def test_texts_that_would_do_something_on_a_page(text: str, message: str) -> None:
    assert list(unsafe(text)) == [message]


@pytest.mark.parametrize(
    "text",
    [
        "a < b, a<=b, 3<4 and a > b",
        "AT&T and R & D; a && b",
        "`<s, X^T b>` and `x[i](j)` are code",
        "code over `two\nlines <b>` is code, too",
        "sets {0, 1}, {-1, +1}, and ranges [0, 1]: fine",
        "x_{i=1}^n",
        "[a paper](https://a.example/x) and [b](HTTP://b.example)",
        "[x]: https://a.example",
        "wow! [aside] (and more)",
        "ratio a:::b",
    ],
)
def test_texts_that_are_only_read(text: str) -> None:
    assert list(unsafe(text)) == []


def test_backticks_hide_nothing_beyond_their_paragraph() -> None:
    assert len(list(unsafe("one ` here\n\n<b> ` there"))) == 1


def test_an_entity_does_not_disguise_a_link() -> None:
    messages = list(unsafe("[x](&#106;avascript:a)"))
    assert messages[-1].startswith("the link to `javascript:a` is no web address")


def test_every_fault_of_a_text_is_told() -> None:
    assert len(list(unsafe("<b> &lt; ![x] {:.a} [x](y) [z](w)"))) == 6


@pytest.mark.parametrize("text", ["<b>", "&lt;", "![", "x](y)", "]: x", "{:a}", "{ onx=1}", ":::", "--8<--"])
def test_the_quick_look_misses_nothing(text: str) -> None:
    assert may_be_unsafe(text)


def test_the_quick_look_lets_plain_text_pass() -> None:
    assert not may_be_unsafe("A title: with {braces}, a - b, and [brackets]")


@pytest.mark.parametrize(
    ("text", "short"),
    [("short", "short"), ("a\n  b", "a b"), ("x" * 61, "x" * 57 + "..."), ("a\x1b[31mb", "a�[31mb")],
)
def test_messages_show_a_short_plain_text(text: str, short: str) -> None:
    assert shorten(text) == short


def test_plain_text_has_nothing_wrong() -> None:
    assert wrong_text("ü\tß\r\n量子化 – “x”\u00a0α\n".encode()) == []


def test_one_fault_per_line_of_unseen_characters() -> None:
    assert wrong_text("a\x07b\x07\nc\nd\u200be".encode()) == [
        (1, "character U+0007 cannot be seen: remove it"),
        (3, "character U+200B cannot be seen: remove it"),
    ]


def test_every_text_has_its_path() -> None:
    data = {"a": "1", "b": ("2", {"c": "3"}), "d": {"e": ["4"]}, "f": 5}
    assert list(texts(data)) == [("a", "1"), ("b[0]", "2"), ("b[1].c", "3"), ("d.e[0]", "4")]
    assert list(texts("alone", "x")) == [("x", "alone")]
