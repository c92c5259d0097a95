"""What can be found out about a link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "moved", "dead", "anchor", "refused", "unknown"]
BROKEN: tuple[Status, ...] = ("dead", "anchor", "refused")


@dataclass(frozen=True)
class Outcome:
    """What is known about a link.

    Args:
        url: the address as it is written.
        status: `ok`; `moved`, answered at another address for good; `dead`; `anchor`, the page has no such anchor;
            `refused`, nobody should be sent there; `unknown`.
        reason: why, in words; empty where it is ok.
        code: the last status of HTTP.
        final: the address that answered.
        moved: the new address.
        doubtful: the name could not be looked up, which means something only if any other name could be.
    """

    url: str
    status: Status
    reason: str = ""
    code: int | None = None
    final: str = ""
    moved: str = ""
    doubtful: bool = False


@dataclass(frozen=True)
class Wait:
    """Not known yet: ask again after so many seconds; `whole_host`, and nothing else of this host before."""

    seconds: float = 0.0
    whole_host: bool = False
