from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.doctor.examine import CHECKS, chosen, examine, mend
from qkb.doctor.finding import Finding, Fix
from qkb.errors import UsageError
from qkb.paths import Place
from qkb.records.faults import FaultsError

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker


def test_checks_by_name() -> None:
    assert chosen([]) == list(CHECKS)
    assert chosen(["layout", "ids"]) == ["ids", "layout"]
    with pytest.raises(UsageError, match=r"there is no check 'layot'\. Did you mean 'layout'"):
        chosen(["layot"])
    assert all(check.__doc__ for check in CHECKS.values())


def test_two_fixes_of_one_file_are_both_made(library: LibraryMaker) -> None:
    examine(library.place, fix=True)
    library.record("hiding", 2016, links={"url": "https://arxiv.org/abs/1601.00007"})
    done = examine(library.place, ["ids", "layout"], fix=True)
    assert done.findings == ()
    assert {one.check for one in done.fixed} >= {"ids"}
    assert examine(library.place, ["ids", "layout"]).findings == ()


def test_the_installed_copy_is_not_mended(library: LibraryMaker) -> None:
    with pytest.raises(UsageError, match="installed copy"):
        examine(Place(library.root, bundled=True), fix=True)
    assert examine(Place(library.root, bundled=True), ["layout"]).findings != ()


def test_a_link_is_not_written_through(library: LibraryMaker) -> None:
    outside = library.write("outside.yaml", "precious: true\n")
    link = library.papers / "2016" / "linked.yaml"
    link.symlink_to(outside)
    finding = Finding(
        "papers/2016/linked.yaml", 1, "", "x", "layout", Fix("x", "papers/2016/linked.yaml", lambda _: "y")
    )
    with pytest.raises(FaultsError, match="this is a link"):
        mend(library.place, finding)
    assert outside.read_text() == "precious: true\n"
    assert link.is_symlink()


def test_a_finding_without_fix_changes_nothing(library: LibraryMaker) -> None:
    assert mend(library.place, Finding("papers/2015/tiny-sign.yaml", 1, "", "x", "faults")) is False
