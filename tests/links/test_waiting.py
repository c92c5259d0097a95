from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkb.links.waiting import retry_after


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("0", 0.0), (" 30 ", 30.0), ("-5", None), ("1.5", None), ("1e9", None), ("٣", None),
     ("Thu, 01 Jan 1970 00:02:00 GMT", 60.0), ("Thu, 01 Jan 1970 00:00:30 GMT", 0.0), ("Thursday", None),
     ("Thu, 01 Jan 1970 00:02:00 -0000", 60.0), ("Thu, 99 Jan 1970 00:02:00 GMT", None)],
)  # fmt: skip
def test_numbers_and_dates(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, 60.0) == seconds


@given(st.text(max_size=40))
def test_any_header_is_understood_or_ignored(header: str) -> None:
    seconds = retry_after(header, 60.0)
    assert seconds is None or seconds >= 0


def test_digits_without_end_are_a_long_time() -> None:
    assert (retry_after("9" * 5000, 0.0) or 0) > 1e9
