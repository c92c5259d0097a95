from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from qkb.records.faults import FaultsError
from qkb.site.survey import Survey, read_survey
from reference_impls.fpga.results import Hardware, Unit, to_json

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker


def ids(groups: object) -> dict[object, list[str]]:
    assert isinstance(groups, dict)
    return {key: [record.id for record in found] for key, found in groups.items()}


def test_everything_is_read(survey: Survey) -> None:
    assert set(survey.records) == {"tiny-sign", "scaled-sign", "wide-steps"}
    assert set(survey.results) == {"tiny-sign"}
    assert survey.sources["tiny-sign"].path == "reference_impls/binary/tiny_sign.py"
    assert survey.sources["tiny-sign"].text.startswith('r"""Tiny Sign')
    assert [record.id for record in survey.implemented] == ["scaled-sign", "tiny-sign"]


def test_groups(survey: Survey) -> None:
    assert ids(survey.years) == {2017: ["wide-steps"], 2016: ["scaled-sign"], 2015: ["tiny-sign"]}
    assert ids(survey.tags)["bnn"] == ["scaled-sign", "tiny-sign"]
    assert ids(survey.topics)["weights-only"] == ["wide-steps", "tiny-sign"]
    assert ids(survey.venues)["FABJ"] == ["scaled-sign"]
    assert ids(survey.built_upon_by) == {"tiny-sign": ["scaled-sign", "wide-steps"], "scaled-sign": ["wide-steps"]}


def test_titles_are_in_order_within_a_year(site_library: LibraryMaker) -> None:
    site_library.record("zulu", 2017, title="alpha Work")
    site_library.record("alpha", 2017, title="Zulu Work")
    found = read_survey(site_library.place).years[2017]
    assert [record.id for record in found] == ["zulu", "wide-steps", "alpha"]


def test_a_fault_stops_the_build_and_all_are_told(site_library: LibraryMaker) -> None:
    site_library.record("first", 2018, venue="NOWHERE")
    site_library.record("second", 2018, topics=["nothing"])
    with pytest.raises(FaultsError) as error:
        read_survey(site_library.place)
    assert {fault.file for fault in error.value.faults} == {"papers/2018/first.yaml", "papers/2018/second.yaml"}


def test_a_broken_result_names_its_file(site_library: LibraryMaker) -> None:
    site_library.write("reference_impls/results/tiny-sign.json", "{}")
    with pytest.raises(ValueError, match=r"tiny-sign\.json: not a result file"):
        read_survey(site_library.place)


HARDWARE = Hardware("mlp", 0, "w1a1", "", 9, (90.0,) * 3, 0, "pysim", (128, 128.0), 258, (Unit("skid", 16, 1),))
RESULT = "reference_impls/results/fpga/mlp/tiny-sign.json"


def test_hardware_results_and_what_stands_beside_them(site_library: LibraryMaker) -> None:
    site_library.write(RESULT, to_json(HARDWARE))
    site_library.write(RESULT.replace("tiny-sign", "no-such-record"), "{}")
    site_library.write(RESULT.replace(".json", ".v.gz"), b"verilog")
    site_library.write(RESULT.replace(".json", ".json.123.tmp"), b"left behind")
    site_library.write(RESULT.replace("mlp", "cnn"), to_json(replace(HARDWARE, network="cnn")))
    found = read_survey(site_library.place)
    assert found.hardware == {"tiny-sign": {"mlp": HARDWARE, "cnn": replace(HARDWARE, network="cnn")}}
    assert found.beside == {"mlp/tiny-sign": {".v.gz": b"verilog"}, "cnn/tiny-sign": {}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"tiny-sign\.json: not a hardware result"),
        (to_json(replace(HARDWARE, network="cnn")), "the network is 'cnn', but it stands in mlp/"),
        (to_json(replace(HARDWARE, differences=1)), "torch, model and hardware differ"),
    ],
)
def test_a_broken_hardware_result_is_told(site_library: LibraryMaker, text: str, said: str) -> None:
    site_library.write(RESULT, text)
    with pytest.raises(ValueError, match=said):
        read_survey(site_library.place)
