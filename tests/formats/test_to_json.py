from __future__ import annotations

import json
from typing import TYPE_CHECKING

from qkb.formats import to_json, to_jsonl

if TYPE_CHECKING:
    from qkb.entry import Entry

PLAIN = """\
[
  {
    "id": "plain",
    "year": 2017,
    "title": "A plain preprint",
    "authors": [
      "Dee Moss"
    ],
    "venue": "arXiv",
    "kind": "preprint",
    "pages": null,
    "tags": [
      "qnn"
    ],
    "topics": [
      "ternary"
    ],
    "bits": {},
    "links": {
      "arxiv": "1701.00002"
    },
    "code": [],
    "aliases": [],
    "builds_on": [],
    "implementation": "wanted",
    "claims": [
      {
        "id": "claim",
        "says": "it holds",
        "where": "Sec. 1"
      }
    ],
    "listed_in": [],
    "notes": "One line.\\n"
  }
]
"""


def test_exactly(plain: Entry) -> None:
    assert to_json.dump([plain]) == PLAIN


def test_nothing_is_an_empty_array() -> None:
    assert to_json.dump([]) == "[]\n"
    assert to_jsonl.dump([]) == ""


def test_read_back(hard: Entry, plain: Entry) -> None:
    assert json.loads(to_json.dump([hard, plain])) == [hard.data, plain.data]
    lines = to_jsonl.dump([hard, plain]).splitlines()
    assert [json.loads(line) for line in lines] == [hard.data, plain.data]


def test_letters_are_not_escaped(hard: Entry) -> None:
    assert "Sébastien" in to_json.dump([hard])
    assert "Sébastien" in to_jsonl.dump([hard])
