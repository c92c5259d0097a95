from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkb.metadata.work import plain, years


@pytest.mark.parametrize(
    ("text", "found"),
    [("a<sub>2</sub>  b\n", "a2 b"), ("<jats:p>x</jats:p>", "x"), ("a &lt;b&gt; c", "a <b> c"),
     ("1 < 2 > 0", "1 < 2 > 0"),
     (None, ""), (3, ""), (["a"], "")],
)  # fmt: skip
def test_plain(text: object, found: str) -> None:
    assert plain(text) == found


@given(st.text(alphabet="<>/ab &;\n", max_size=60))
def test_plain_is_one_line(text: str) -> None:
    assert "\n" not in plain(text)


def test_years() -> None:
    assert years("1998", 2016, 2016, 99, "20x6", None, True, 20167) == (1998, 2016)
