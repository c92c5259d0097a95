# ruff: noqa: E501 (tables of what is read)

from __future__ import annotations

import pytest

from qkb.imports import markdown

# Made up; each part has the shape of a list that somebody keeps.
FILE = """\
# Awesome Nets [![Awesome](https://awesome.re/badge.svg)](https://awesome.re)

Papers on nets.

## Contents
- [Papers](#papers)
- A Thing in the Contents

## Papers

**Keywords**: **`qnn`**: quantized | **`bnn`**: binarized

**Loose Title on Its Own Line** [[Paper](https://arxiv.org/abs/1901.00009)]

Some prose that mentions [a paper](https://arxiv.org/abs/1901.00008).

### 2019
- [[CVPR](https://arxiv.org/abs/1901.00001)] First Title of a Net. [**`bnn`**]
  - a remark on it
    - another, see [this](https://arxiv.org/abs/1901.00002)
- Second Title
- Training:
  - Nested Title of a Net
- Groups of nets
  - [Another Nested Title](https://openreview.net/forum?id=AbCdEf_1)
- https://a.example/just/an/address
- https://arxiv.org/abs/1901.00003
- Word
- `--`

### CVPR 2018
1. Third Title of a Net

### Table
| No. | Title & Authors | Where | Year | Links |
|---|:---:|---|---|---|
| 1 | [Fourth Title of a Net](https://arxiv.org/abs/1704.00004)<br>Ada Lind, Bo Ruiz | ICLR **(Oral)** | 2017 | [Code](https://github.com/a/b) [Paper](https://arxiv.org/abs/1704.00004) |
| 2 | Fifth Title of a Net | - | 2017.11 | -- |
| | | | | |

| Week | Subject |
|---|---|
| 1 | Introduction to Nets |

| Code | From |
|---|---|
| quant.py | https://github.com/a/c |

| Doc | Text |
|---|---|
| Notes.md | my notes |
| A Survey of Nets.pdf | a survey |

<table><tr><th>Paper</th><th>Venue</th></tr>
<tr><td><a href="https://arxiv.org/abs/1901.00005">Sixth Title of a Net</a></td><td>ECCV 2016</td></tr></table>

## How to contribute
- Open a pull request
- [A Guide to Writing Nets](https://arxiv.org/abs/1901.00006)

```
- [In Code](https://arxiv.org/abs/1901.00007)
```
"""


def test_every_row_is_read() -> None:
    rows = markdown.read(FILE).rows
    assert [(row.line, row.work.title, row.work.year, row.work.venue) for row in rows if row.work] == [
        (13, "Loose Title on Its Own Line", None, ""),
        (18, "First Title of a Net", 2019, "CVPR"),
        (21, "Second Title", 2019, ""),
        (23, "Nested Title of a Net", 2019, ""),
        (25, "Another Nested Title", 2019, ""),
        (27, "", 2019, ""),
        (32, "Third Title of a Net", 2018, "CVPR"),
        (37, "Fourth Title of a Net", 2017, "ICLR"),
        (38, "Fifth Title of a Net", 2017, ""),
        (47, "quant.py", None, ""),
        (52, "A Survey of Nets", None, ""),
        (55, "Sixth Title of a Net", 2016, "ECCV"),
        (59, "A Guide to Writing Nets", None, ""),
    ]
    assert [(row.line, row.problem) for row in rows if row.work is None] == [(28, "one word is no title")]


def test_what_is_passed_over_is_told_with_the_reason() -> None:
    told = {skipped.line: skipped.why for skipped in markdown.read(FILE).skipped}
    assert told[3] == "text"
    assert told[6] == "a link within the file"
    assert told[7] == "in the section 'Contents', which is no list of works"
    assert told[15] == "text"
    assert told[19] == told[20] == "a note on line 18"
    assert told[22] == told[24] == "the name of what follows"
    assert told[26] == "an address without a title"
    assert told[29] == "an empty item"
    assert told[39] == "an empty row"
    assert told[43] == "a table without a column of titles"
    assert told[51] == "the name of a file with notes, no work"
    assert told[58] == "in the section 'How to contribute', which is no list of works"
    assert told[61] == "code"


def test_cells_of_a_row_belong_to_its_work() -> None:
    works = {row.line: row.work for row in markdown.read(FILE).rows if row.work}
    assert works[37].authors == ("Ada Lind", "Bo Ruiz")
    assert works[37].code == (("https://github.com/a/b", ""),)
    assert works[47].code == (("https://github.com/a/c", ""),)


@pytest.mark.parametrize("text", ["", "\n", "| a |\n|---|\n|", "- \n- ", "# \n", "<table><tr><td></table>"])
def test_odd_files_have_no_rows(text: str) -> None:
    assert markdown.read(text).rows == []


def test_points_of_a_sentence_are_no_works() -> None:
    found = markdown.read(
        "There are four kinds of methods for small nets:\n- quantization\n- nets by design (and by search)\n"
        "- Low Rank\n\n## Papers\n- Plain Title of a Net\n"
    )
    assert [row.line for row in found.rows] == [7]
    assert [skip.why for skip in found.skipped if skip.line in (2, 3, 4)] == ["a point of the text on line 1"] * 3


def test_titles_below_a_sentence_are_works() -> None:
    found = markdown.read(
        "We read these papers this term:\n- Plain Title of a Net\n"
        "- [small title](https://arxiv.org/abs/1901.00001)\n- a small title, CVPR 2019\n"
    )
    assert [row.work.title for row in found.rows if row.work] == [
        "Plain Title of a Net",
        "small title",
        "a small title",
    ]


@pytest.mark.parametrize("heading", ["People (in order)", "Venues", "Videos", "Talks"])
def test_sections_without_works(heading: str) -> None:
    found = markdown.read(f"## {heading}\n- [Ada Lind](https://a.example/) @ University of Bits and Nets\n")
    assert found.rows == []
    assert found.skipped[-1].why == f"in the section {heading!r}, which is no list of works"


def test_venues_of_a_year_are_a_section_of_works() -> None:
    found = markdown.read("## 2019 Venues\n- Plain Title of a Net\n")
    assert [row.work.title for row in found.rows if row.work] == ["Plain Title of a Net"]


def test_one_name_before_the_year_is_an_author_where_all_rows_name_authors() -> None:
    rows = [
        f"- [Title Number {number} of Nets](https://a.example/{number}), Ada Lind, Bo Ruiz, 2019"
        for number in range(10)
    ]
    one = "- [Last Title of Nets](https://a.example/last), Cy Ode, 2018"
    work = markdown.read("\n".join([*rows, one])).rows[-1].work
    assert work is not None
    assert (work.authors, work.venue, work.year) == (("Cy Ode",), "", 2018)
    journal = "- [Other Title of Nets](https://a.example/other), Journal of Bits, 2018"
    for others in ([*rows[:5], one], [*rows, journal, one]):
        work = markdown.read("\n".join(others)).rows[-1].work
        assert work is not None
        assert (work.authors, work.venue) == ((), "Cy Ode")
