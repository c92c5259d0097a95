from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from qkb.records import rules_library
from qkb.records.load import load_all
from qkb.records.rules_library import RULES, Hints

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker


def faults(library: LibraryMaker) -> list[str]:
    return [str(fault).removeprefix("papers/") for fault in load_all(library.place).faults]


def test_every_generator_of_the_module_is_a_rule() -> None:
    public = [
        function
        for name, function in vars(rules_library).items()
        if inspect.isgeneratorfunction(function) and not name.startswith("_")
    ]
    assert public == list(RULES)
    assert all(inspect.getdoc(rule) for rule in RULES)


def test_hints_are_looked_for_once_and_not_for_hundreds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def nearest(word: str, known: object) -> str:
        asked.append(word)
        return f"near {word}" if known and word != "far" else ""

    monkeypatch.setattr(rules_library, "nearest", nearest)
    hints = Hints({"x"}, "Nothing is.")
    assert [hints.hint(word) for word in ("a", "far", "a", "far")] == ["near a", "Nothing is."] * 2
    assert asked == ["a", "far"]
    words = [str(number) for number in range(100)]
    assert [hints.hint(word) for word in words].count("Nothing is.") == 100 - 48
    assert len(asked) == 50


def test_a_good_library(library: LibraryMaker) -> None:
    assert faults(library) == []


def test_an_id_in_two_years(library: LibraryMaker) -> None:
    library.record("twice", 2016)
    library.record("twice", 2018, title="Another title")
    assert faults(library) == [
        "2016/twice.yaml:1: papers/2018/twice.yaml has the same id: rename or merge one of them",
        "2018/twice.yaml:1: papers/2016/twice.yaml has the same id: rename or merge one of them",
    ]


@pytest.mark.parametrize(
    ("venue", "message"),
    [
        ("FABCONV", "unknown venue `FABCONV`. Did you mean 'FABCONF'?"),
        ("Fabconf", "`Fabconf` is another name: write FABCONF"),
        ("FabConf", "`FabConf` is another name: write FABCONF"),
        ("Zzz", "unknown venue `Zzz`. Describe it in papers/vocabulary/venues.yaml if it is new."),
    ],
)
def test_a_venue_that_is_no_term(library: LibraryMaker, venue: str, message: str) -> None:
    library.record("x", venue=venue)
    assert faults(library) == [f"2016/x.yaml:4: venue: {message}"]


def test_a_kind_that_does_not_fit_the_venue(library: LibraryMaker) -> None:
    library.record("x", venue="FABJ", kind="conference")
    assert faults(library) == ["2016/x.yaml:5: kind: `conference` does not fit the venue FABJ, which is for: journal"]


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("weight-only", "unknown topic `weight-only`. Did you mean 'weights-only'?"),
        ("zzz", "unknown topic `zzz`. The terms stand in papers/vocabulary/topics.yaml."),
    ],
)
def test_a_topic_that_is_no_term(library: LibraryMaker, topic: str, message: str) -> None:
    library.record("x", topics=["ternary", topic])
    assert faults(library) == [f"2016/x.yaml:10: topics[1]: {message}"]


def test_nobody_is_blamed_for_a_vocabulary_that_cannot_be_read(library: LibraryMaker) -> None:
    library.write("papers/vocabulary/topics.yaml", "")
    library.write("papers/vocabulary/venues.yaml", "")
    library.write("papers/vocabulary/lists/small-list.yaml", "")
    assert faults(library) == [
        f"vocabulary/{name}.yaml:1: the file is empty: it must hold `key: value` lines"
        for name in ("lists/small-list", "topics", "venues")
    ]


def test_a_faulty_term_is_known_all_the_same(library: LibraryMaker) -> None:
    library.write("papers/vocabulary/venues.yaml", "FABCONF: {}\nFABJ: {}\narXiv: {}\n")
    found = faults(library)
    assert found
    assert all(fault.startswith("vocabulary/venues.yaml") for fault in found)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("tiny-sing", "there is no record `tiny-sing`. Did you mean 'tiny-sign'?"),
        ("zzz", "there is no record `zzz`. Write its record first, or remove it."),
    ],
)
def test_building_on_what_is_not_there(library: LibraryMaker, other: str, message: str) -> None:
    path = library.record("x", builds_on=["tiny-sign", other])
    line = path.read_text().splitlines().index(f"- {other}") + 1
    assert faults(library) == [f"2016/x.yaml:{line}: builds_on[1]: {message}"]


def test_a_record_that_cannot_be_read_is_there_all_the_same(library: LibraryMaker) -> None:
    library.write("papers/2015/tiny-sign.yaml", "")
    assert faults(library) == ["2015/tiny-sign.yaml:1: the file is empty: it must hold `key: value` lines"]


def test_a_circle_is_reported_at_each_of_its_records(library: LibraryMaker) -> None:
    library.record("a", builds_on=["tiny-sign", "b"])
    library.record("b", builds_on=["c"])
    library.record("c", builds_on=["a", "d"])
    library.record("d", builds_on=["c"])
    library.record("before", builds_on=["a"])
    assert [fault.split(":", 2)[2] for fault in faults(library)] == [
        " builds_on[1]: a circle, a -> b -> c -> a: remove one of its steps",
        " builds_on[0]: a circle, b -> c -> a -> b: remove one of its steps",
        " builds_on[1]: a circle, c -> d -> c: remove one of its steps",
        " builds_on[0]: a circle, d -> c -> d: remove one of its steps",
    ]


def test_what_lies_between_two_circles_is_in_none(library: LibraryMaker) -> None:
    for name, others in {"a": ["b"], "b": ["a", "mid"], "mid": ["c"], "c": ["d"], "d": ["c"]}.items():
        library.record(name, builds_on=others)
    files = [fault.partition(":")[0] for fault in faults(library)]
    assert files == ["2016/a.yaml", "2016/b.yaml", "2016/c.yaml", "2016/d.yaml"]


def test_a_record_that_builds_on_itself_is_no_circle_of_two(library: LibraryMaker) -> None:
    library.record("x", builds_on=["x"])
    assert [fault.split(": ", 1)[1] for fault in faults(library)] == [
        "builds_on[0]: this is the record itself: remove it"
    ]


def test_a_long_chain_is_no_circle(library: LibraryMaker) -> None:
    for number in range(60):
        library.record(f"n{number:02d}", builds_on=[f"n{number + 1:02d}"] if number < 59 else [])
    assert faults(library) == []


SMALL_LIST = "vocabulary/lists/small-list.yaml"
SAME = "one work is one record, so merge them"


@pytest.mark.parametrize(
    ("one", "other", "path", "kind"),
    [
        ({"title": "A Work: of Bits"}, {"title": "a work – of bits."}, "title", "title or alias"),
        ({"title": "Große Netze"}, {"title": "GROSSE NETZE"}, "title", "title or alias"),
        ({"links": {"arxiv": "1601.00001"}}, {"links": {"arxiv": "1601.00001"}}, "links.arxiv", "arXiv identifier"),
        ({"links": {"doi": "10.5555/AbC"}}, {"links": {"doi": "10.5555/aBc"}}, "links.doi", "DOI"),
        (
            {"links": {"openreview": "B1ae1lZRb"}},
            {"links": {"openreview": "B1ae1lZRb"}},
            "links.openreview",
            "OpenReview id",
        ),
        ({"aliases": ["An Earlier Title"]}, {"aliases": ["An earlier title"]}, "aliases[0]", "title or alias"),
    ],
)
def test_two_records_of_one_work(
    library: LibraryMaker, one: dict[str, Any], other: dict[str, Any], path: str, kind: str
) -> None:
    library.record("one", 2016, **one)
    library.record("other", 2016, **other)
    found = [fault.partition(": ") for fault in faults(library)]
    assert [(where.partition(":")[0], message) for where, _, message in found] == [
        ("2016/one.yaml", f"{path}: papers/2016/other.yaml has the same {kind}: {SAME}"),
        ("2016/other.yaml", f"{path}: papers/2016/one.yaml has the same {kind}: {SAME}"),
    ]


def test_a_title_that_is_the_alias_of_another(library: LibraryMaker) -> None:
    library.record("one", title="Short")
    library.record("other", aliases=["X", "short"])
    assert [fault.split(": ", 1)[1] for fault in faults(library)] == [
        f"title: papers/2016/other.yaml has the same title or alias: {SAME}",
        f"aliases[1]: papers/2016/one.yaml has the same title or alias: {SAME}",
    ]


def test_two_methods_may_share_a_short_name(library: LibraryMaker) -> None:
    library.record("one", aliases=["DSQ"])
    library.record("other", aliases=["DSQ"])
    assert faults(library) == []


def test_titles_without_a_letter_are_not_the_same(library: LibraryMaker) -> None:
    library.record("one", title="?")
    library.record("other", title="!")
    assert faults(library) == []


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("smal-list/one", "there is no reading list `smal-list`. Did you mean 'small-list'?"),
        ("zzz/one", "there is no reading list `zzz`. The lists stand in papers/vocabulary/lists."),
        ("small-list/onee", "the list small-list has no section `onee`. Did you mean 'one'?"),
        ("small-list/zzz", "the list small-list has no section `zzz`. Its sections are one, two."),
        (
            "small-list/one",
            f"no row of this section names x: remove this entry, or add the row to papers/{SMALL_LIST}",
        ),
    ],
)
def test_a_list_that_does_not_agree(library: LibraryMaker, place: str, message: str) -> None:
    path = library.record("x", listed_in=[place])
    line = path.read_text().splitlines().index("listed_in:") + 2
    assert faults(library) == [f"2016/x.yaml:{line}: listed_in[0]: {message}"]


def test_a_record_that_does_not_say_where_it_is_listed(library: LibraryMaker) -> None:
    path = library.papers / "2016" / "scaled-sign.yaml"
    path.write_text(path.read_text().replace("- small-list/two\n", ""))
    line = path.read_text().splitlines().index("listed_in:") + 1
    because = f"add it, because a row of papers/{SMALL_LIST} names this record"
    assert faults(library) == [f"2016/scaled-sign.yaml:{line}: listed_in: `small-list/two` is missing: {because}"]


def test_a_row_without_a_record(library: LibraryMaker) -> None:
    text = (library.papers / "vocabulary" / "lists" / "small-list.yaml").read_text()
    more = "      - {record: tiny-sin, title: X}\n      - {record: zzz, title: X}\n"
    library.write("papers/vocabulary/lists/small-list.yaml", text + more)
    lines, row = text.count("\n"), SMALL_LIST
    assert faults(library) == [
        f"{row}:{lines + 1}: sections[1].rows[1].record: there is no record `tiny-sin`. Did you mean 'tiny-sign'?",
        f"{row}:{lines + 2}: sections[1].rows[2].record: there is no record `zzz`. Write its record.",
    ]


def test_implementations_are_files_where_there_is_a_folder_of_them(library: LibraryMaker) -> None:
    library.write("reference_impls/binary/tiny_sign.py", "")
    library.write("reference_impls/ternary/scaled_sign.py", "")
    library.write("reference_impls/kit/wide_steps.py", "")
    library.record("x", implementation="kit/wide_steps")
    library.record("y", implementation="binary/__init__".replace("__init__", "none"))
    assert [fault.split(": ", 1)[1] for fault in faults(library)] == [
        "implementation: there is no file reference_impls/binary/scaled_sign.py. Did you mean ternary/scaled_sign?",
        "implementation: there is no file reference_impls/kit/wide_steps.py. Write it, or say wanted.",
        "implementation: there is no file reference_impls/binary/none.py. Write it, or say wanted.",
    ]


def test_an_implementation_of_two_records(library: LibraryMaker) -> None:
    library.record("x", implementation="binary/tiny_sign")
    assert [fault.split(": ", 1)[1] for fault in faults(library)] == [
        "implementation: papers/2016/x.yaml names binary/tiny_sign, too: one file per record",
        "implementation: papers/2015/tiny-sign.yaml names binary/tiny_sign, too: one file per record",
    ]
