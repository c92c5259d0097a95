from __future__ import annotations

import json

import pytest
from markdown_it import MarkdownIt

from qkb.links.collect import Link
from qkb.links.history import DAY, Known
from qkb.links.report import FORMATS, Row, is_fault, render, row, summary

PLACE = Link("papers/2016/a.yaml", 9, "links.url", "https://a.example/x", "a")
DEAD = Known("dead", "answers 404", 404, PLACE.url, "", 20 * DAY, 10 * DAY, 9 * DAY)
ARCHIVE = "https://web.archive.org/web/19700110/https://a.example/x"


def rows() -> list[Row]:
    moved = Known("moved", "has moved to https://b.example", 200, "https://b.example", "https://b.example", 0, 0, 0)
    hostile = "leads to '</td>|`x`\n::error::[y](javascript:z)\x1b[31m'"
    return [
        row(PLACE, DEAD),
        row(Link("README.md", 3, "", "https://c.example"), moved),
        row(Link("README.md", 4, "", "https://d.example"), Known("unknown", hostile, 403, "", "", 0, 0, None)),
        row(Link("README.md", 5, "", "https://e.example"), Known("ok", "", 200, "", "", 0, 0, 0)),
        row(Link("README.md", 6, "", "gone.md", "", "there is no file gone.md"), None),
        row(Link("README.md", 7, "", "https://f.example"), None),
    ]


def test_a_row_says_what_is_known() -> None:
    found = rows()[0]
    assert (found.asked, found.since, found.good, found.archive) == ("1970-01-21", "1970-01-11", "1970-01-10", ARCHIVE)
    assert (
        found.message() == f"dead since 1970-01-11: https://a.example/x answers 404; an archive may have it: {ARCHIVE}"
    )
    assert [each.status for each in rows()] == ["dead", "moved", "unknown", "ok", "wrong", "unasked"]
    assert [is_fault(each) for each in rows()] == [True, False, False, False, True, False]


def test_text_is_a_line_for_each_that_is_not_well() -> None:
    lines = render(rows(), "text").split("\n")
    assert lines[0].startswith("papers/2016/a.yaml:9: links.url: dead since 1970-01-11: https://a.example/x")
    assert [line.partition(":")[2][0] for line in lines[:-1]] == ["9", "3", "4", "6"]
    assert "\x1b" not in lines[2]
    assert len(render(rows(), "text", every=True).splitlines()) == 6


def test_json_has_everything() -> None:
    data = json.loads(render(rows(), "json"))
    assert data["summary"] == {"dead": 1, "wrong": 1, "moved": 1, "unknown": 1, "unasked": 1, "ok": 1}
    assert [each["line"] for each in data["links"]] == [9, 3, 4, 5, 6, 7]
    assert data["links"][0]["archive"] == ARCHIVE


def test_github_annotations_are_one_line_each_and_cannot_be_forged() -> None:
    lines = render(rows(), "github").splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::warning", "::warning", "::error"]
    assert lines[0].startswith("::error file=papers/2016/a.yaml,line=9,title=link dead::dead since")
    assert not any(line.startswith("::error::") for line in lines)


def test_markdown_has_a_table_for_each_status_and_no_foreign_markup() -> None:
    text = render(rows(), "markdown")
    assert text.startswith("# Links\n\n6 links: 1 dead, 1 wrong, 1 moved, 1 unknown, 1 unasked, 1 ok.\n\n## Dead (1)\n")
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert html.count("<table>") == 4
    assert html.count("</td>") == 16
    assert 'href="javascript' not in html
    assert f'<a href="{ARCHIVE}">Archive</a>' in html


@pytest.mark.parametrize("form", FORMATS)
def test_no_links_at_all(form: str) -> None:
    assert "dead" not in render([], form)
    assert summary([]) == "0 links"
