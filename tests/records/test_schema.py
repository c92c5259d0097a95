from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from qkb.records.load import load_all
from qkb.records.schema import check_schema, make_schema, schema_text
from qkb.records.vocabulary import Vocabulary, load_vocabulary

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

GOOD: dict[str, Any] = {
    "title": "A Title",
    "authors": ["Ada Lind"],
    "venue": "FABCONF",
    "kind": "conference",
    "pages": "1-2",
    "tags": ["bnn"],
    "topics": ["ternary"],
    "bits": {"weights": 1, "activations": "2..8", "gradients": "fp"},
    "links": {"arxiv": "1603.05279", "doi": "10.5555/x", "url": "https://a.example"},
    "code": [{"url": "https://a.example/x", "official": True, "framework": "pytorch"}],
    "aliases": [],
    "builds_on": ["tiny-sign"],
    "implementation": "binary/x",
    "claims": [{"id": "one", "says": "it works", "where": "Sec. 1"}],
    "listed_in": ["small-list/one"],
    "notes": "One. Two. Three.\n",
}


@pytest.fixture
def schema(library: LibraryMaker) -> dict[str, Any]:
    return make_schema(load_vocabulary(library.place).vocabulary)


def wrong(schema: dict[str, Any], fields: Any) -> list[str]:
    """Return the paths of what a schema refuses."""
    return sorted(error.json_path for error in Draft202012Validator(schema).iter_errors(fields))


def test_the_schema_is_one(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_editors_complete_the_words_of_the_vocabulary(schema: dict[str, Any]) -> None:
    keys = schema["properties"]
    assert keys["venue"]["enum"] == ["arXiv", "FABCONF", "FABJ"]
    assert keys["venue"]["enumDescriptions"][1] == (
        "Fabricated Conference on Networks. A conference that does not exist."
    )
    assert keys["topics"]["items"]["enum"] == ["scaling-factors", "ternary", "weights-only"]
    assert keys["topics"]["items"]["enumDescriptions"][1] == "Ternary. Values are minus, zero and plus."
    assert keys["tags"]["items"]["enum"] == ["qnn", "bnn", "hardware", "other"]
    assert keys["tags"]["items"]["enumDescriptions"][1] == "Binarized neural networks. Values take two levels."
    assert keys["listed_in"]["items"]["enum"] == ["small-list/one", "small-list/two"]
    assert keys["listed_in"]["items"]["enumDescriptions"] == ["A small list: Section one", "A small list: Section two"]


def test_every_key_is_described_and_none_may_be_null(schema: dict[str, Any]) -> None:
    owners = [schema, *schema["$defs"].values()]
    assert [owner["additionalProperties"] for owner in owners] == [False] * 5
    keys = [key for owner in owners for key in owner["properties"].values()]
    assert len(keys) > 25
    assert all(key["description"] for key in keys)
    assert '"null"' not in json.dumps(schema)
    assert '"default"' not in json.dumps(schema)


def test_without_lists_any_section_may_be_named(bare_library: LibraryMaker) -> None:
    items = make_schema(load_vocabulary(bare_library.place).vocabulary)["properties"]["listed_in"]["items"]
    assert "enum" not in items
    assert items["pattern"] == "^[a-z0-9-]+/[a-z0-9-]+$"


def test_good_records_validate(library: LibraryMaker, schema: dict[str, Any]) -> None:
    assert wrong(schema, GOOD) == []
    papers = load_all(library.place)
    for file in papers.files.values():
        assert wrong(schema, yaml.safe_load((library.root / file).read_text())) == []
    assert papers.faults == ()


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"title": None}, "$.title"),
        ({"title": 5}, "$.title"),
        ({"title": " x"}, "$.title"),
        ({"authors": []}, "$.authors"),
        ({"authors": "Ada Lind"}, "$.authors"),
        ({"venue": "FabConf"}, "$.venue"),
        ({"kind": "conf"}, "$.kind"),
        ({"tags": ["bnm"]}, "$.tags[0]"),
        ({"tags": ["bnn", "bnn"]}, "$.tags"),
        ({"topics": ["weight-only"]}, "$.topics[0]"),
        ({"bits": {"weights": 0}}, "$.bits.weights"),
        ({"bits": {"weights": "two"}}, "$.bits.weights"),
        ({"bits": {"weights": None}}, "$.bits.weights"),
        ({"bits": {"weigths": 1}}, "$.bits"),
        ({"links": {}}, "$.links"),
        ({"links": {"arxiv": 1603.05279}}, "$.links.arxiv"),
        ({"links": {"url": "javascript:alert(1)"}}, "$.links.url"),
        ({"code": [{"official": True}]}, "$.code[0]"),
        ({"code": [{"url": "https://a.example", "official": "yes"}]}, "$.code[0].official"),
        ({"implementation": "x"}, "$.implementation"),
        ({"claims": [{"id": "one", "says": "x"}]}, "$.claims[0]"),
        ({"listed_in": ["small-list/three"]}, "$.listed_in[0]"),
        ({"notes": ""}, "$.notes"),
        ({"id": "x"}, "$"),
        ({"nots": "x"}, "$"),
    ],
)
def test_bad_records_do_not(schema: dict[str, Any], changes: dict[str, Any], path: str) -> None:
    assert wrong(schema, GOOD | changes) == [path]


@pytest.mark.parametrize("key", ["title", "authors", "venue", "kind", "tags", "topics", "links", "implementation"])
def test_what_a_record_must_have(schema: dict[str, Any], key: str) -> None:
    assert wrong(schema, {name: part for name, part in GOOD.items() if name != key}) == ["$"]


def test_the_file_is_compared_by_what_it_says(library: LibraryMaker) -> None:
    vocabulary = load_vocabulary(library.place).vocabulary

    def check(vocabulary: Vocabulary = vocabulary) -> list[str]:
        return [str(fault) for fault in check_schema(vocabulary, library.root)]

    command = "qkb validate --write-schema"
    assert check() == [f"papers/schema.json:1: the file is missing: write it with {command}"]
    path = library.write("papers/schema.json", schema_text(vocabulary))
    assert check() == []
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert check() == []
    path.write_text("{")
    assert check() == [f"papers/schema.json:1: the file is no JSON: write it anew with {command}"]
    path.write_text("{}")
    stale = f"papers/schema.json:1: out of date with the model or the vocabulary: write it anew with {command}"
    assert check() == [stale]
    path.write_text(schema_text(vocabulary))
    assert check(Vocabulary(vocabulary.tags, vocabulary.topics, vocabulary.venues, {})) == [stale]
