from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.doctor.stated import stated
from qkb.implementations import Methods
from qkb.paths import locate

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """\
raise SystemExit("this must not run")
LOW, UNIT = -0.5, "bits"
LONG = ("a remark "
        "in two parts" + ", and more")
CLAIMS: tuple[object, ...] = (
    Difference("first", "one", "two", LOW, "below", remark=LONG),
    Exact("second", "three", "<=", 1 / 4, unit=UNIT),
    Exact("third", "four", "==", compute(), remark="said"),
)
"""


def test_a_file_is_read_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "method.py"
    path.write_text(SOURCE)
    assert stated(path) == {
        "first": {
            "quantity": "one - two", "bound": "< -0.5", "unit": "points", "remark": "a remark in two parts, and more",
        },
        "second": {"quantity": "three <= 0.25", "unit": "bits", "remark": ""},
        "third": {"unit": "", "remark": "said"},
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CLAIMS = tuple(make())",
        "CLAIMS = (Other('a'),)",
        "CLAIMS = (Exact(*parts),)",
        "CLAIMS = (Exact(NAME, 'm', '==', 1.0),)\nNAME = NAME",
        "CLAIMS = (Exact('a', 'm', '==', 1.0, 0.0, '', '', 'too many'),)",
        f"CLAIMS = ({'-' * 2000}1,)",
    ],
)
def test_what_is_not_clear_is_left_open(text: str, tmp_path: Path) -> None:
    path = tmp_path / "method.py"
    path.write_text(text)
    assert stated(path) is None


def test_division_by_nothing_is_left_open(tmp_path: Path) -> None:
    path = tmp_path / "method.py"
    path.write_text("CLAIMS = (Exact('a', 'm', '==', 1 / 0),)")
    assert stated(path) == {"a": {"unit": "", "remark": ""}}


def test_it_agrees_with_what_the_real_files_say_when_they_run() -> None:
    torch = pytest.importorskip("torch")
    assert torch is not None
    from reference_impls.kit.catalogue import load

    name = "binary/xnor_net"
    read = stated(Methods.of(locate()).source(name))
    assert read is not None
    assert {key: (said["quantity"], said["unit"], said["remark"]) for key, said in read.items()} == {
        claim.id: (claim.quantity, claim.unit, claim.remark) for claim in load(name).CLAIMS
    }
