from __future__ import annotations

import pytest

from qkb.records.comments import Comments, find_comments

COMMENTED = """\
# yaml-language-server: $schema=../schema.json
# Above the title.

title: "A # title"  # beside the title
# Above the authors, one.
  # Above the authors, two.
authors: [Ada Lind,  # first
  Bo Ruiz]  # beside the authors
bits: {weights: 1}  # beside the bits
code:  # beside the code
  # Above the first.
  - {url: "https://a.example/#x"}  # beside the first
  - url: https://b.example  # beside an address
    # Above official.
    official: true
aliases:
  - a#b  # beside an alias
  - c
  # After the last alias.
notes: |  # beside the notes
  # Not a comment.
  Text # neither.
# After everything.
#
"""


def test_every_comment_finds_its_owner() -> None:
    found = find_comments(COMMENTED)
    assert dict(found.before) == {
        "title": ["# Above the title."],
        "authors": ["# Above the authors, one.", "# Above the authors, two."],
        "code[0]": ["# Above the first."],
        "code[1].official": ["# Above official."],
        "notes": ["# After the last alias."],
    }
    assert found.beside == {
        "title": "# beside the title",
        "authors[0]": "# first",
        "authors": "# beside the authors",
        "bits": "# beside the bits",
        "code": "# beside the code",
        "code[0]": "# beside the first",
        "code[1].url": "# beside an address",
        "aliases[0]": "# beside an alias",
        "notes": "# beside the notes",
    }
    assert found.after == ["# After everything.", "#"]
    assert len(found.texts()) == 17


def test_a_file_without_comments() -> None:
    assert find_comments("# yaml-language-server: x\ntitle: x\n").texts() == []
    assert find_comments("title: '#'\n# yaml-language-server: x\nkind: x # yaml-language-server: x\n").texts() == [
        "# yaml-language-server: x"
    ]
    assert find_comments("title: x\n").texts() == []
    assert find_comments('title: "#1"\nnotes: |\n  # heading\n').texts() == []


@pytest.mark.parametrize(
    ("text", "before", "beside"),
    [
        ("--- # start\ntitle: x\n", {"title": ["# start"]}, {}),
        ("title: 'a\n  b' # one\n", {}, {"title": "# one"}),
        ("title: # one\n  x # two\n", {}, {"title": "# one # two"}),
        ("bits: {weights: 1, # one\n  # two\n  errors: 2}\n", {"bits.errors": ["# two"]}, {"bits.weights": "# one"}),
        ("links: {arxiv: x} # with # marks\n", {}, {"links": "# with # marks"}),
        ("tags: [a, b\n] # late\n", {}, {"tags": "# late"}),
        ("a:\n- b: 1\n  c: 2\n# above\n- b: 3\n", {"a[1]": ["# above"]}, {}),
        ("title: é # ü\r\nkind: x # y\r\n", {}, {"title": "# ü", "kind": "# y"}),
    ],
)
def test_odd_places(text: str, before: dict[str, list[str]], beside: dict[str, str]) -> None:
    found = find_comments(text)
    assert (dict(found.before), found.beside) == (before, beside)


def test_what_has_comments_inside() -> None:
    comments = Comments(beside={"code[1].url": "# x"})
    comments.before["bits.weights"].append("# y")
    assert [path for path in ("code", "code[1]", "code[0]", "code[1].url", "bits", "bit") if comments.within(path)] == [
        "code",
        "code[1]",
        "bits",
    ]
