from __future__ import annotations

import pytest

from qkb.imports.markdown_blocks import blocks, cells_of, definitions

FILE = """\
Title
=====
Some text
that goes on.
##No Space
*0. Emphasised heading* :
- One item
  goes on
lazily
    - nested
1. - [x] Ticked
> * quoted

| A | B |
|---|:-:|
| a | b \\| c |
| d |

```
- code
```
<!-- - hidden
- also -->
<table>
<tr><th>A</th><th>B</th></tr>
<tr><td>x</td>
<td><b>y</b></td></tr>
</table>
---
[ref]: https://a.example/x "title"
"""


def test_blocks() -> None:
    found = [(block.kind, block.line, block.text, block.level) for block in blocks(FILE.replace("\n", "\r\n"))]
    assert found == [
        ("heading", 1, "Title", 1),
        ("paragraph", 3, "Some text that goes on.", 0),
        ("heading", 5, "No Space", 2),
        ("heading", 6, "0. Emphasised heading", 7),
        ("item", 7, "One item goes on lazily", 0),
        ("item", 10, "nested", 4),
        ("item", 11, "Ticked", 0),
        ("item", 12, "quoted", 0),
        ("none", 14, "the header of a table", 0),
        ("row", 16, "| a | b \\| c |", 0),
        ("row", 17, "| d |", 0),
        ("none", 19, "code", 0),
        ("none", 22, "a comment", 0),
        ("none", 25, "the header of a table", 0),
        ("row", 26, "x | <b>y</b>", 0),
    ]


def test_rows_know_their_header() -> None:
    rows = [block for block in blocks(FILE) if block.kind == "row"]
    assert (rows[0].header, rows[0].cells) == (("A", "B"), ("a", "b | c"))
    assert (rows[2].header, rows[2].cells) == (("A", "B"), ("x", "<b>y</b>"))


def test_definitions() -> None:
    assert definitions(FILE) == {"ref": "https://a.example/x"}


@pytest.mark.parametrize("text", ["", "\n\n", "|", "```", "<table>", "<!--", "- ", "#", "a\n---"])
def test_odd_files(text: str) -> None:
    assert all(block.line >= 1 for block in blocks(text))


def test_cells_without_bars_at_the_ends() -> None:
    assert cells_of("a | b") == ("a", "b")
