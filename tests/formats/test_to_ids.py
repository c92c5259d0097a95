from __future__ import annotations

from typing import TYPE_CHECKING

from qkb.formats import to_ids

if TYPE_CHECKING:
    from qkb.entry import Entry


def test_exactly(hard: Entry, plain: Entry) -> None:
    assert to_ids.dump([plain, hard]) == "plain\nhard\n"
    assert to_ids.dump([]) == ""
