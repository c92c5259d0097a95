"""Finds the methods by their files and loads one by name; nothing registers itself."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from reference_impls.kit.claims import Claim
    from reference_impls.kit.quantizers import Quantizer

HOME = Path(__file__).resolve().parent.parent
SHARED = ("fpga", "kit", "results")  # folders that hold no methods


class Method(Protocol):
    """What every method's module offers."""

    __doc__: str | None
    RECORD: str
    SEEDS: Sequence[int]
    CLAIMS: Sequence[Claim]
    QUANTIZERS: Sequence[Quantizer]

    def reproduce(self, seed: int) -> dict[str, float]:
        """Run the toy experiment for one seed."""


def names(home: Path = HOME) -> list[str]:
    """Return the names of all methods, `family/module`, sorted."""
    files = home.glob("[a-z]*/[a-z]*.py")
    return sorted(f"{f.parent.name}/{f.stem}" for f in files if f.parent.name not in SHARED)


def load(name: str) -> Method:
    """Import a method, `binary/xnor_net` for instance.

    Raises:
        LookupError: if there is no such file.
        ImportError: if the method, or a package that it needs, cannot be imported.
    """
    if name not in names():
        raise LookupError(f"no implementation {name!r}; there are {', '.join(names()) or 'none yet'}")
    return cast("Method", importlib.import_module(f"reference_impls.{name.replace('/', '.')}"))


def result_path(record: str, home: Path = HOME) -> Path:
    """Return the path of the accepted result of a record."""
    return home / "results" / f"{record}.json"
