"""Fixtures that several parts share: a small, made-up, valid library in a temporary folder.

Ask for `library` (a vocabulary, three records, one reading list) or `bare_library` (the vocabulary alone). For type
hints, import the class only for the type checker: `if TYPE_CHECKING: from tests.conftest import LibraryMaker`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
import yaml
from hypothesis import settings

from qkb.paths import Place

if TYPE_CHECKING:
    from pathlib import Path

# A busy machine must not fail a test, and no test leaves a database behind.
settings.register_profile("qkb", deadline=None, database=None)
settings.load_profile("qkb")

TAGS = """\
qnn:
  name: Quantized neural networks
  description: Values take few levels.
bnn:
  name: Binarized neural networks
  description: Values take two levels.
hardware:
  name: Hardware deployment
  description: The work measures hardware.
other:
  name: Other compression
  description: Everything else.
"""

TOPICS = """\
scaling-factors:
  name: Scaling factors
  description: Low-bit tensors carry real-valued scales.
ternary:
  name: Ternary
  description: Values are minus, zero and plus.
weights-only:
  name: Weights only
  description: Only the weights are quantized.
"""

VENUES = """\
arXiv:
  name: arXiv preprint
  kinds: [preprint]
  description: A server of preprints.
FABCONF:
  name: Fabricated Conference on Networks
  kinds: [conference]
  description: A conference that does not exist.
  aliases: [FabConf]
FABJ:
  name: Fabricated Journal of Bits
  kinds: [journal]
  description: A journal that does not exist.
"""

SMALL_LIST = """\
title: A small list
description: A list that does not exist.
sections:
  - id: one
    title: Section one
    rows:
      - record: tiny-sign
        title: Tiny Sign (as printed)
        year: 2014
        why: The list prints the year of a talk.
      - {record: scaled-sign, title: Scaled Sign Networks}
  - id: two
    title: Section two
    rows:
      - {record: scaled-sign, title: Scaled Sign Networks, venue: FABJ}
"""

TINY_SIGN: dict[str, Any] = {
    "title": "Tiny Sign: Networks with One-Bit Weights",
    "authors": ["Ada Lind", "Bo Ruiz"],
    "venue": "FABCONF",
    "kind": "conference",
    "pages": "12-20",
    "tags": ["bnn"],
    "topics": ["weights-only"],
    "bits": {"weights": 1},
    "links": {"arxiv": "1511.00001"},
    "aliases": ["TinySign"],
    "implementation": "binary/tiny_sign",
    "claims": [{"id": "one-bit", "says": "a weight takes one bit", "where": "Sec. 2"}],
    "listed_in": ["small-list/one"],
    "notes": "Weights are replaced by their sign. The gradient passes straight through. Good for a first try.\n",
}

SCALED_SIGN: dict[str, Any] = {
    "title": "Scaled Sign Networks",
    "authors": ["Chen Ode", "Ada Lind"],
    "venue": "FABJ",
    "kind": "journal",
    "tags": ["bnn", "hardware"],
    "topics": ["scaling-factors"],
    "bits": {"weights": 1, "activations": 1},
    "links": {"doi": "10.5555/scaled.sign", "url": "https://journal.example/scaled-sign"},
    "code": [{"url": "https://code.example/scaled-sign", "official": True, "framework": "pytorch"}],
    "builds_on": ["tiny-sign"],
    "implementation": "binary/scaled_sign",
    "claims": [{"id": "scale-is-mean", "says": "the best scale is the mean magnitude", "where": "Eq. 3"}],
    "listed_in": ["small-list/one", "small-list/two"],
    "notes": "Each filter has a scale. The scale is the mean magnitude. Popcount replaces the dot product.\n",
}

WIDE_STEPS: dict[str, Any] = {
    "title": "Wide Steps for Ternary and Wider Weights",
    "authors": ["Dee Moss"],
    "venue": "arXiv",
    "kind": "preprint",
    "tags": ["qnn"],
    "topics": ["ternary", "weights-only"],
    "bits": {"weights": "2..8", "activations": "fp"},
    "links": {"arxiv": "1701.00002"},
    "builds_on": ["tiny-sign", "scaled-sign"],
    "implementation": "wanted",
    "claims": [{"id": "wide", "says": "wide steps lose 0.1 points", "where": "Table 1"}],
    "notes": "Steps are wide. Levels are few. Training is short.\n",
}


class LibraryMaker:
    """Writes the files of a small library; each method returns the path that it wrote."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.papers = root / "papers"
        self.place = Place(root)

    def write(self, path: str, text: str | bytes) -> Path:
        """Write a file; `path` is relative to the root and its folders are made."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
        return target

    def record(self, name: str, year: int = 2016, /, **changes: Any) -> Path:
        """Write `papers/<year>/<name>.yaml`: a valid record with these changes; a change to None removes the key.

        Title, arXiv id and implementation follow from the name, so that two records do not clash by accident.
        """
        number = crc32(name.encode()) % 100_000
        fields: dict[str, Any] = {
            **WIDE_STEPS,
            "title": f"A Made-Up Work Called {name}",
            "links": {"arxiv": f"{year % 100:02d}01.{number:05d}"},
            "builds_on": [],
            **changes,
        }
        kept = {key: value for key, value in fields.items() if value is not None}
        return self.write(f"papers/{year}/{name}.yaml", dump(kept))

    def vocabulary(self) -> None:
        """Write the vocabulary files without reading lists."""
        self.write("papers/vocabulary/tags.yaml", TAGS)
        self.write("papers/vocabulary/topics.yaml", TOPICS)
        self.write("papers/vocabulary/venues.yaml", VENUES)


def dump(fields: dict[str, Any]) -> str:
    """Return a record's keys as YAML, in the order given."""
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=110)


@pytest.fixture
def bare_library(tmp_path: Path) -> LibraryMaker:
    """A library without records and without reading lists."""
    maker = LibraryMaker(tmp_path / "library")
    maker.vocabulary()
    return maker


@pytest.fixture
def library(bare_library: LibraryMaker) -> LibraryMaker:
    """A valid library: tiny-sign (2015), scaled-sign (2016), wide-steps (2017) and the list small-list."""
    bare_library.write("papers/vocabulary/lists/small-list.yaml", SMALL_LIST)
    bare_library.write("papers/2015/tiny-sign.yaml", dump(TINY_SIGN))
    bare_library.write("papers/2016/scaled-sign.yaml", dump(SCALED_SIGN))
    bare_library.write("papers/2017/wide-steps.yaml", dump(WIDE_STEPS))
    return bare_library
