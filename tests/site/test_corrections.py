from __future__ import annotations

import pytest

from qkb.records.model import ListRow, ReadingList, Record, Venue
from qkb.site.corrections import corrections, named_venue, row_corrections, same_place

VENUES = {
    "CVPR": Venue(
        name="IEEE/CVF Conference on Computer Vision and Pattern Recognition", kinds=("conference",), description="x"
    ),
    "CVPR Workshop": Venue(
        name="IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops",
        kinds=("workshop",),
        description="x",
    ),
    "ECCV": Venue(name="European Conference on Computer Vision", kinds=("conference",), description="x"),
    "NeurIPS": Venue(
        name="Advances in Neural Information Processing Systems",
        kinds=("conference",),
        description="x",
        aliases=("NIPS",),
    ),
    "arXiv": Venue(name="arXiv preprint", kinds=("preprint",), description="x"),
}


def record(**changes: object) -> Record:
    fields: dict[str, object] = {
        "title": "XNOR-Net: ImageNet Classification",
        "authors": ("A B",),
        "venue": "ECCV",
        "kind": "conference",
        "tags": ("bnn",),
        "topics": ("ternary",),
        "links": {"arxiv": "1603.05279"},
        "code": ({"url": "https://github.com/allenai/XNOR-Net"},),
        "implementation": "wanted",
        "claims": ({"id": "c", "says": "s", "where": "w"},),
        "notes": "n",
    }
    return Record.from_parts("xnor-net", 2016, fields | changes)


def found(row: ListRow, work: Record) -> list[tuple[str, str, str, str]]:
    return [(c.what, c.printed, c.recorded, c.why) for c in row_corrections(row, work, VENUES)]


@pytest.mark.parametrize(
    "row",
    [
        ListRow(record="xnor-net", title="XNOR-Net- ImageNet Classification"),
        ListRow(record="xnor-net", title="XNOR NET imagenet classification.", year=2016, venue="ECCV"),
        ListRow(
            record="xnor-net",
            title="XNOR-Net: ImageNet Classification",
            venue="European Conference on Computer Vision (ECCV)",
        ),
        ListRow(
            record="xnor-net", title="XNOR-Net: ImageNet Classification", code="http://www.github.com/allenai/xnor-net/"
        ),
        ListRow(
            record="xnor-net",
            title="XNOR-Net: ImageNet Classification",
            code="https://github.com/allenai/XNOR-Net/tree/master/x",
        ),
    ],
)
def test_what_agrees_is_no_correction(row: ListRow) -> None:
    assert found(row, record()) == []


def test_every_printed_value_is_compared() -> None:
    row = ListRow(
        record="xnor-net", title="XOR-Net", year=2017, venue="arXiv preprint arXiv:1603.05279",
        code="https://github.com/allenai/XNOR-Net-2", why="Seen there.",
    )  # fmt: skip
    assert found(row, record()) == [
        ("title", "XOR-Net", "XNOR-Net: ImageNet Classification", "Seen there."),
        ("year", "2017", "2016", "Seen there."),
        ("venue", "arXiv preprint arXiv:1603.05279", "ECCV", "Seen there."),
        ("code", "https://github.com/allenai/XNOR-Net-2", "https://github.com/allenai/XNOR-Net", "Seen there."),
    ]


def test_a_printed_code_link_without_a_known_one_is_a_correction() -> None:
    row = ListRow(record="xnor-net", title="XNOR-Net: ImageNet Classification", code="https://example.org/x")
    assert found(row, record(code=())) == [("code", "https://example.org/x", "no code is known", "")]


@pytest.mark.parametrize(
    ("printed", "venue"),
    [
        ("Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition", "CVPR"),
        ("Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition Workshops", "CVPR Workshop"),
        ("CVPR", "CVPR"),
        ("NIPS", "NeurIPS"),
        ("Advances in neural information processing systems", "NeurIPS"),
        ("arXiv preprint arXiv:1602.02830", "arXiv"),
        ("Journal of Nothing", None),
        ("CVPRX", None),
    ],
)
def test_a_venue_is_known_by_its_longest_name(printed: str, venue: str | None) -> None:
    assert named_venue(printed, VENUES) == venue


def test_a_folder_of_a_repository_is_the_same_place_and_a_longer_name_is_not() -> None:
    assert same_place("https://github.com/a/b/tree/x", "https://github.com/a/b.git")
    assert not same_place("https://github.com/a/b", "https://github.com/a/b-pytorch")


def test_corrections_follow_the_list() -> None:
    rows = [{"record": "xnor-net", "title": title} for title in ("First", "XNOR-Net: ImageNet Classification", "Third")]
    data = {
        "title": "L",
        "description": "d",
        "sections": (
            {"id": "one", "title": "One", "rows": tuple(rows[:2])},
            {"id": "two", "title": "Two", "rows": tuple(rows[2:])},
        ),
    }
    listed = ReadingList.model_validate(data)
    assert [c.printed for c in corrections(listed, {"xnor-net": record()}, VENUES)] == ["First", "Third"]
