from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qkb.records.text import MAX_BYTES
from qkb.records.yaml_lines import compose, doubt, line_of, parse, read

if TYPE_CHECKING:
    from pathlib import Path

# The reader that libyaml makes fast, and PyYAML's own, which must agree.
READERS = [pytest.param(False, id="libyaml"), pytest.param(True, id="pure")]
readers = pytest.mark.parametrize("pure", READERS)

RECORD = b"""\
# a comment
title: "XNOR-Net: a title"
authors: [A B,
  C D]
bits: {weights: 1, activations: 2..8}
code:
  - {url: "https://a.example", official: true}
  - url: https://b.example
    official: false
claims:
  - id: one
    says: it works
notes: |
  First line.

  Third line.
count: -12
"""


def found(source: bytes, *, pure: bool) -> list[str]:
    parsed = parse(source, "f", pure=pure)
    return [str(fault) for fault in (*parsed.faults, *parsed.doubts)]


@readers
def test_a_file_becomes_plain_data(pure: bool) -> None:
    parsed = parse(RECORD, "f", pure=pure)
    assert parsed.faults == parsed.doubts == ()
    assert parsed.data == {
        "title": "XNOR-Net: a title",
        "authors": ("A B", "C D"),
        "bits": {"weights": 1, "activations": "2..8"},
        "code": (
            {"url": "https://a.example", "official": True},
            {"url": "https://b.example", "official": False},
        ),
        "claims": ({"id": "one", "says": "it works"},),
        "notes": "First line.\n\nThird line.\n",
        "count": -12,
    }
    assert parsed.text == RECORD.decode()


@readers
def test_every_key_and_item_has_its_line(pure: bool) -> None:
    assert parse(RECORD, "f", pure=pure).lines == {
        "title": 2,
        "authors": 3,
        "authors[0]": 3,
        "authors[1]": 4,
        "bits": 5,
        "bits.weights": 5,
        "bits.activations": 5,
        "code": 6,
        "code[0]": 7,
        "code[0].url": 7,
        "code[0].official": 7,
        "code[1]": 8,
        "code[1].url": 8,
        "code[1].official": 9,
        "claims": 10,
        "claims[0]": 11,
        "claims[0].id": 11,
        "claims[0].says": 12,
        "notes": 13,
        "count": 17,
    }


@pytest.mark.parametrize(
    ("path", "line"),
    [("code[1].url", 8), ("code[1].framework", 8), ("code[7]", 6), ("bits.errors", 5), ("venue", 1), ("", 1)],
)
def test_what_is_not_there_has_the_line_of_what_it_belongs_in(path: str, line: int) -> None:
    assert line_of(parse(RECORD, "f").lines, path) == line


@readers
@pytest.mark.parametrize(
    ("source", "faults"),
    [
        # Nothing to read.
        (b"", ["f:1: the file is empty: it must hold `key: value` lines"]),
        (b"# only a comment\n\n", ["f:1: the file is empty: it must hold `key: value` lines"]),
        (b"\n- a\n- b\n", ["f:2: the file must be a mapping of `key: value` lines, not a list or a text"]),
        (b"just a text\n", ["f:1: the file must be a mapping of `key: value` lines, not a list or a text"]),
        # Not a text.
        (b"\xef\xbb\xbfa: 1\n", ["f:1: the file begins with a byte order mark: save it as UTF-8 without one"]),
        ("a: 1\n".encode("utf-16"), ["f:1: the file is UTF-16: save it as UTF-8"]),
        (b"a: 1\nb: caf\xe9\n", ["f:2: byte 0xe9 is not UTF-8: save the file as UTF-8"]),
        (b"a: 1\nb: x\x00y\n", ["f:2: character U+0000 cannot be seen: remove it"]),
        (
            "a: x\u202ey\u202e\nb: \ufeff\n".encode(),
            ["f:1: character U+202E cannot be seen: remove it", "f:2: character U+FEFF cannot be seen: remove it"],
        ),
        ("a: x\u2028y\n".encode(), ["f:1: character U+2028 cannot be seen: remove it"]),
        (b"a: " + b"x" * MAX_BYTES, ["f:1: the file is longer than 256 kB: shorten or split it"]),
        # YAML that is not used here.
        (b"a: &x 1\nb: *x\n", ["f:1: anchors such as `&x` are not used here: remove it, or quote the text"]),
        (b"a: 1\nb: {c: &x 2}\n", ["f:2: anchors such as `&x` are not used here: remove it, or quote the text"]),
        (b"a: [*x]\n", ["f:1: aliases such as `*x` are not used here: write the value out, or quote the text"]),
        (
            b"a: !!python/object/apply:os.system [ls]\n",
            [
                ("f:1: tags such as `tag:yaml.org,2002:python/object/apply:os.system` are not used here:"
                 " remove it, or quote the text")
            ],
        ),
        (b"a: 1\nb: ! c\n", ["f:2: tags such as `!` are not used here: remove it, or quote the text"]),
        (b"a: 1\n<<: {b: 1}\n", ["f:2: merge keys `<<` are not used here: write the keys out"]),
        (
            b"a: 1\n---\nb: 2\n",
            ["f:2: not valid YAML: a second document begins here: a file holds one, so remove the line `---`"],
        ),
        # Keys.
        (b"a: 1\nb: 2\na: 3\n", ["f:3: a: the key stands here again, first in line 1: keep one"]),
        (b"a:\n  b: {c: 1, c: 2}\n", ["f:2: a.b.c: the key stands here again, first in line 2: keep one"]),
        (b"? [a, b]\n: c\n", ["f:1: a key must be one word, not a list or a mapping"]),
        (
            b'a: {"\\e[2J\\nb": 1}\n',
            ["f:1: a: the key `�[2J b` has characters that cannot be seen: remove them"],
        ),
        (b"a: {\"\": 1}\n", ["f:1: a: a key is missing before the `:`"]),
        # Values.
        (b"a: 1\nb: ~\n", ["f:2: b: there is no value: write one, or remove the key"]),
        (b"a: 1\nb:\n", ["f:2: b: there is no value: write one, or remove the key"]),
        (b"a: [null]\n", ["f:1: a[0]: there is no value: write one, or remove the key"]),
        (
            b"a: 1603.05279\n",
            ['f:1: a: `1603.05279` is read as a number: put it in quotes, "1603.05279"'],
        ),
        (b"a: [x, no]\n", ["f:1: a[1]: `no` is true or false to some readers: put it in quotes"]),
        (b"a: On\r\nb: x\r\n", ["f:1: a: `On` is true or false to some readers: put it in quotes"]),
        (b"a: 12:30\n", ['f:1: a: `12:30` is read as a number: put it in quotes, "12:30"']),
        (b"a: 2016-11-05\n", ['f:1: a: `2016-11-05` is read as a date: put it in quotes, "2016-11-05"']),
        (b"a: 010\n", ['f:1: a: `010` is read as a number: put it in quotes, "010"']),
        (b"a: =\n", ["f:1: a: `=` has a meaning of its own: put it in quotes"]),
        # Syntax.
        (
            b"title: XNOR-Net: ImageNet\n",
            [
                ("f:1: not valid YAML: a `:` stands where no key can be: put a text that contains `: ` in quotes,"
                 " or correct the indentation")
            ],
        ),
        (b"a: 1\nb: \"x\nc: 2\n", ["f:2: not valid YAML: the text in quotes that begins here does not end"]),
        (b"a: [1, 2\nb: 3\n", ["f:1: not valid YAML: the list that begins here lacks a `,` or its `]`"]),
        (b"a: {b: 1\nc: 3\n", ["f:1: not valid YAML: the mapping that begins here lacks a `,` or its `}`"]),
        (b"a: [x,,y]\n", ["f:1: not valid YAML: a value is missing here, or a bracket is not closed"]),
        (
            b"a:\n\tb: 1\n",
            ["f:2: not valid YAML: a tab cannot begin a text: put the text in quotes; indent with spaces"],
        ),
        (
            b"a: @x\n",
            ["f:1: not valid YAML: the character @ cannot begin a text: put the text in quotes; indent with spaces"],
        ),
        (b"a: **bold**\n", ["f:1: not valid YAML: `*` cannot begin a text: put the text in quotes"]),
        (b"a: & b\n", ["f:1: not valid YAML: `&` cannot begin a text: put the text in quotes"]),
        (
            b"a: - b\n",
            ["f:1: not valid YAML: a list item `- ` cannot stand here: put it on a line of its own"],
        ),
        (
            b"a: 'x' y\n",
            [
                ("f:1: not valid YAML: this belongs to no key: the keys of one mapping begin in one column,"
                 " and a text in quotes ends with them")
            ],
        ),
        (
            b"a: |x\n  b\n",
            ["f:1: not valid YAML: the block text is not well formed: begin it with `|` and indent its lines alike"],
        ),
        (b'a: "\\q"\n', ["f:1: not valid YAML: unknown escape: write `\\\\` for a backslash, or use single quotes"]),
        (b'a: "\\xZZ"\n', ["f:1: not valid YAML: a wrong escape: write `\\\\` for a backslash, or use single quotes"]),
        (b'a: 1\nb: "x\\u202ey"\n', ["f:2: b: character U+202E cannot be seen: remove its escape"]),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_a_fault(source: bytes, faults: list[str], pure: bool) -> None:
    assert found(source, pure=pure) == faults


@readers
@pytest.mark.parametrize(
    "source",
    [
        b"a: " + b"[" * 11 + b"]" * 11,
        b"a: " + b"{b: " * 10 + b"1" + b"}" * 10,
        b"".join(b" " * n + b"a:\n" for n in range(14)) + b" " * 14 + b"a: 1\n",
        b"a:\n" + b"- " * 11 + b"b\n",
        # So deep that recursion, or time that grows with the square, would be a danger.
        b"a: " + b"[" * 100_000,
        b"a: " + b"{" * 100_000,
        b"- " * 100_000,
        b"? " * 100_000,
    ],
)
def test_deep_nesting_is_refused(source: bytes, pure: bool) -> None:
    assert [fault.message for fault in parse(source, "f", pure=pure).faults] == [
        "nested more than 10 levels deep: check brackets and indentation"
    ]


@readers
def test_a_block_as_deep_as_a_file_allows_is_refused_without_a_crash(pure: bool) -> None:
    parsed = parse(b"".join(b" " * n + b"a:\n" for n in range(700)), "f", pure=pure)
    assert len(parsed.faults) == 1
    assert "nested" in parsed.faults[0].message


@readers
def test_a_bomb_of_aliases_is_refused_before_it_goes_off(pure: bool) -> None:
    lines = [b"a0: &a0 [x, x]"]
    lines += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 40)]
    assert found(b"\n".join(lines), pure=pure) == [
        "f:1: anchors such as `&a0` are not used here: remove it, or quote the text"
    ]


def test_escapes_that_name_no_character() -> None:
    message = "f:1: not valid YAML: a wrong escape: write `\\\\` for a backslash, or use single quotes"
    assert found(b'a: "\\ud800"\n', pure=False) == [message]
    assert found(b'a: "\\ud800"\n', pure=True) == ["f:1: a: character U+D800 cannot be seen: remove its escape"]
    assert found(b'a: "\\UFFFFFFFF"\n', pure=False) == [message]
    assert found(b'a: "\\UFFFFFFFF"\n', pure=True) == [
        "f:1: not valid YAML: it is nested too deeply, or has a wrong escape sequence"
    ]


@readers
def test_all_faults_are_found_and_the_rest_is_read(pure: bool) -> None:
    parsed = parse(b"a: 1\na: 2\nb:\nc: 1.5\nd: [yes, 08]\n<<: x\ne: fine\n", "f", pure=pure)
    assert [(fault.line, fault.path) for fault in parsed.faults] == [(2, "a"), (3, "b"), (6, "")]
    assert [(fault.line, fault.path) for fault in parsed.doubts] == [(4, "c"), (5, "d[0]"), (5, "d[1]")]
    assert parsed.data == {"a": 1, "b": None, "c": "1.5", "d": ("yes", "08"), "e": "fine"}


@readers
def test_marks_that_mean_nothing_inside_a_text_are_no_fault(pure: bool) -> None:
    source = b'a: Bits & *Bytes*!\nb: "&x *y !z <<"\nc: |\n  &a *b !c - [\nd: x#y\ne: [A & B, -1x, 2..8]\n'
    assert parse(source, "f", pure=pure).data == {
        "a": "Bits & *Bytes*!",
        "b": "&x *y !z <<",
        "c": "&a *b !c - [\n",
        "d": "x#y",
        "e": ("A & B", "-1x", "2..8"),
    }
    assert found(source, pure=pure) == []


@readers
def test_lines_are_those_of_an_editor_whatever_ends_them(pure: bool) -> None:
    assert parse(b"a: 1\r\nb: 2\r\n\r\nc: 3\r\n", "f", pure=pure).lines == {"a": 1, "b": 2, "c": 4}


@pytest.mark.parametrize("text", ["525-542", "2..8", "fp", "a.b", "1.2.3", "x1", "10.1007/978", "1e", "north", "nonet"])
def test_texts_that_every_reader_takes_for_text(text: str) -> None:
    assert doubt(text) == ""
    assert parse(f"a: {text}\n".encode(), "f").data == {"a": text}


def loaded(text: str) -> Any:
    return yaml.safe_load(f"a: {text}\n")["a"]


@given(st.text("0123456789+-._:eExob~nyNYTtfaulrsoi= ", min_size=1, max_size=8))
def test_what_passes_without_quotes_is_what_yaml_says(text: str) -> None:
    """Whatever passes as a text is a text to PyYAML, too; numbers and truth values are the same ones."""
    parsed = parse(f"a: {text}\n".encode(), "f")
    if parsed.faults or parsed.doubts or parsed.data is None:
        return
    assert parsed.data["a"] == loaded(text)
    assert type(parsed.data["a"]) is type(loaded(text))


@given(st.binary(max_size=60) | st.text("ab:- \n\t[]{},\"'&*!|>#%@`?<~=\\0123", max_size=40).map(str.encode))
def test_no_input_raises_and_both_readers_agree(source: bytes) -> None:
    """They refuse different corners of YAML; what both accept, they read alike."""
    fast, pure = parse(source, "f"), parse(source, "f", pure=True)
    assert (fast.data is None) <= bool(fast.faults)
    if not fast.faults and not pure.faults:
        assert (fast.data, fast.doubts, fast.lines) == (pure.data, pure.doubts, pure.lines)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert [str(fault) for fault in read(tmp_path / "x.yaml", "f").faults] == [
        "f:1: the file cannot be read: No such file or directory"
    ]


def test_links_and_pipes_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("a: 1\n")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("link.yaml", "pipe.yaml", "."):
        assert [str(fault) for fault in read(tmp_path / name, "f").faults] == [
            "f:1: this is a link or something else that is no plain file: put a plain file here"
        ]


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: 1\n")
    assert read(path, "f").data == read(str(path), "f", pure=True).data == {"a": 1}


def test_nodes_are_those_of_a_mapping() -> None:
    assert [key.value for key, _ in compose(b"a: 1\nb: 2\n").value] == ["a", "b"]
    with pytest.raises(TypeError, match="can be parsed"):
        compose(b"- a\n")
