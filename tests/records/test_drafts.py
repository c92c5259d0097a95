from __future__ import annotations

from typing import Any

import pytest

from qkb.records.drafts import HARMLESS, Draft, mend
from qkb.records.faults import Fault
from qkb.records.model import Record

GOOD: dict[str, Any] = {
    "id": "a-record",
    "year": 2016,
    "title": "A Title",
    "authors": ("Ada Lind", "Bo Ruiz"),
    "venue": "FABCONF",
    "kind": "conference",
    "tags": ("bnn",),
    "topics": ("ternary", "weights-only"),
    "bits": {"weights": 1, "activations": 2},
    "links": {"arxiv": "1603.05279", "doi": "10.5555/x"},
    "code": ({"url": "https://a.example"}, {"url": "https://b.example"}),
    "implementation": "binary/x",
    "claims": ({"id": "one", "says": "it works", "where": "Sec. 1"},),
    "notes": "One. Two. Three.",
}


def test_a_faulty_item_is_replaced_and_the_others_stay_in_place() -> None:
    record = mend(GOOD | {"topics": ("Not A Topic", "weights-only")}, ("topics[0]",))
    assert record is not None
    assert record.topics == ("faulty", "weights-only")


def test_only_the_faulty_part_of_an_item_is_replaced() -> None:
    code = ({"url": 5, "official": True}, {"url": "https://b.example", "x": 1}, "text")
    record = mend(GOOD | {"code": code}, ("code[0].url", "code[1].x", "code[2]"))
    assert record is not None
    assert [(code.url, code.official) for code in record.code] == [
        ("https://faulty.example", True),
        ("https://b.example", False),
        ("https://faulty.example", False),
    ]


def test_a_key_with_a_strange_name_does_no_harm() -> None:
    assert mend(GOOD | {"topics[7]": 1, "[": 2}, ("topics[7]", "[")) == Record.model_validate(GOOD)


def test_a_faulty_key_of_a_mapping_is_left_out() -> None:
    record = mend(GOOD | {"links": {"arxiv": 5, "doi": "10.5555/x"}}, ("links.arxiv",))
    assert record is not None
    assert (record.links.arxiv, record.links.doi) == (None, "10.5555/x")


@pytest.mark.parametrize("key", sorted(GOOD.keys() - {"id", "year"}))
def test_every_key_can_be_faulty(key: str) -> None:
    record = mend(GOOD | {key: object()}, (key,))
    assert record is not None
    assert mend({name: part for name, part in GOOD.items() if name != key}, (key,)) == record


def test_keys_that_do_not_exist_are_dropped() -> None:
    assert mend(GOOD | {"zzz": 1}, ("zzz", "")) == Record.model_validate(GOOD)


def test_what_cannot_be_mended() -> None:
    assert mend(GOOD | {"title": 5}, ("notes",)) is None


def test_every_list_and_every_required_key_has_a_harmless_value() -> None:
    needed = {
        name
        for name, info in Record.model_fields.items()
        if name not in {"id", "year"} and (info.is_required() or str(info.annotation).startswith("tuple"))
    }
    assert needed == HARMLESS.keys()


def test_a_draft_names_the_line_of_a_fault() -> None:
    draft = Draft("f", Record.model_validate(GOOD), {"links": 4, "links.doi": 5})
    assert draft.fault("links.doi", "wrong") == Fault("f", 5, "links.doi", "wrong")
    assert draft.fault("links.arxiv", "wrong") == Fault("f", 4, "links.arxiv", "wrong")


@pytest.mark.parametrize(
    ("path", "sound"),
    [("links", False), ("links.arxiv", False), ("links.doi", True), ("claims[1]", False), ("claims[1].id", False),
     ("claims[0].id", True), ("claims[10]", True), ("claims", False), ("title", True), ("", True)],
)  # fmt: skip
def test_what_is_in_a_faulty_part_or_contains_one_is_not_sound(path: str, *, sound: bool) -> None:
    draft = Draft("f", Record.model_validate(GOOD), {}, ("links.arxiv", "claims[1]"))
    assert draft.sound(path) is sound
