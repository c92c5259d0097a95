"""Times to wait: what a server asks for, and how it is said."""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime


def retry_after(header: str | None, now: float) -> float | None:
    """Return how many seconds a Retry-After asks for, given as a number or a date; None where it says nothing.

    Args:
        header: the header's value.
        now: the time in seconds since 1970.

    >>> retry_after("120", 0.0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 10.0), retry_after("soon", 0.0)
    (120.0, 50.0, None)
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(date.timestamp() - now, 0.0)


def spoken(seconds: float) -> str:
    """Return a time in words.

    >>> spoken(0.5), spoken(20), spoken(7200), spoken(3 * 86400)
    ('0.5 s', '20 s', '120 min', '72 h')
    """
    if seconds < 300:
        return f"{seconds:g} s" if seconds < 10 else f"{math.ceil(seconds)} s"
    if seconds < 3 * 3600:
        return f"{math.ceil(seconds / 60)} min"
    return f"{math.ceil(seconds / 3600)} h"
