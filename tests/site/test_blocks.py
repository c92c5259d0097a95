from __future__ import annotations

import pytest

from qkb.records.faults import FaultsError
from qkb.site.blocks import renewed

GROUPINGS = ("year", "topic")
BEGIN, END = "<!-- qkb tables --by topic -->", "<!-- /qkb -->"


def make(by: str) -> str:
    return f"## {by}\n\n| a |\n| --- |\n"


def test_a_block_is_made_and_then_up_to_date() -> None:
    text = f"# Mine\n\n{BEGIN}\nold\n{END}\n\nMine, too.\n"
    new, stale = renewed(text, "R.md", GROUPINGS, make)
    assert new == f"# Mine\n\n{BEGIN}\n\n## topic\n\n| a |\n| --- |\n\n{END}\n\nMine, too.\n"
    assert [(fault.line, "out of date" in fault.message) for fault in stale] == [(3, True)]
    assert renewed(new, "R.md", GROUPINGS, make) == (new, [])


def test_several_blocks_each_by_its_own_marker_and_line_ends_stay() -> None:
    text = f"{BEGIN}\r\n{END}\r\nbetween\r\n<!-- qkb tables -->\r\n{END}"
    new, stale = renewed(text, "R.md", GROUPINGS, make)
    assert [fault.line for fault in stale] == [1, 4]
    assert new.count("\r\n") == new.count("\n")
    assert new.index("## topic") < new.index("between") < new.index("## year")
    assert renewed(new, "R.md", GROUPINGS, make) == (new, [])


def test_a_marker_in_a_block_of_code_is_text() -> None:
    fenced = f"````md\n```\n{BEGIN}\n````\n"
    text = f"{fenced}\n{BEGIN}\n{END}\n"
    new, stale = renewed(text, "R.md", GROUPINGS, make)
    assert [fault.line for fault in stale] == [6]
    assert new.startswith(f"{fenced}\n{BEGIN}\n\n## topic")


def test_a_fence_inside_a_block_does_not_hide_its_end() -> None:
    new, _ = renewed(f"{BEGIN}\n```\nold\n{END}\n", "R.md", GROUPINGS, make)
    assert "```" not in new


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("no marker\n", 1, "there is no block"),
        (f"\n{BEGIN}\nold\n", 2, "has no end"),
        (f"x\n{END}\n", 2, "does not begin"),
        (f"{BEGIN}\n{BEGIN}\n{END}\n", 1, "has no end before the next"),
        (f"<!-- qkb tables --by colour -->\n{END}\n", 1, "one of year, topic"),
        (f"<!-- qkb tables --by topic --limit 3 -->\n{END}\n", 1, "and nothing else"),
    ],
)
def test_markers_that_are_wrong(text: str, line: int, message: str) -> None:
    with pytest.raises(FaultsError) as caught:
        renewed(text, "R.md", GROUPINGS, make)
    (fault,) = caught.value.faults
    assert (fault.file, fault.line) == ("R.md", line)
    assert message in fault.message
