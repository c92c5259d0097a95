"""The small library of `tests/conftest.py` with one implementation, its accepted result, and the site's own sources."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.site.page import Page
from qkb.site.survey import Survey, read_survey
from reference_impls.kit.results import Curve, Outcome, Result, to_json

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

ROOT = Path(__file__).parents[2]
SOURCE = '''\
r"""Tiny Sign: weights are replaced by their sign.

Forward (Eq. 1):

$$ w_b = \\mathrm{sign}(w) $$

Differences from the paper

1. (Sec. 2) Digits, *not* photographs.
"""

RECORD = "tiny-sign"


def sign(w: float) -> float:
    """Return the sign."""
    return 1.0 if w >= 0 else -1.0
'''
RESULT = Result(
    torch="2.13.0",
    seeds=(0, 1, 2),
    metrics={"ours": (91.0, 92.0, 93.0), "theirs": (90.0, 90.0, 90.0), "levels": (2.0, 2.0, 2.0)},
    claims=(
        Outcome("one-bit", "not reproduced", "ours - theirs", "> 5", 2.0, -0.5, 4.5, "points", "Toys are `small`."),
    ),
    quantizers=(Curve("weights", 1, (-1.0, 0.0, 1.0), (-1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),),
)


@pytest.fixture
def site_library(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> LibraryMaker:
    """The small library as a checkout: sources of the site, an implementation of tiny-sign and its result."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # opening a checkout makes its implementations importable
    shutil.copytree(ROOT / "site", library.root / "site")
    shutil.copy(ROOT / "mkdocs.yml", library.root)
    library.write(
        "CONTRIBUTING.md", "# Contributing\n\nRead [how it works](site/pages/design.md), see [it](README.md).\n"
    )
    (library.root / "reference_impls" / "kit").mkdir(parents=True)
    library.write("reference_impls/binary/tiny_sign.py", SOURCE)
    library.write("reference_impls/binary/scaled_sign.py", '"""Scaled Sign: each filter has a scale."""\n')
    library.write("reference_impls/results/tiny-sign.json", to_json(RESULT))
    return library


@pytest.fixture
def survey(site_library: LibraryMaker) -> Survey:
    """The small library, read."""
    return read_survey(site_library.place)


@pytest.fixture
def paper_page(survey: Survey) -> Page:
    """A page in the folder of papers."""
    return Page("papers/tiny-sign.md", survey)
