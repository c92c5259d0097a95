from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.paths import Place
from qkb.records.faults import FaultsError
from qkb.site.build import build, build_folder, page_files
from qkb.site.survey import Survey

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker


def test_pages_stand_beside_the_hand_written_ones(site_library: LibraryMaker) -> None:
    report = build(site_library.place, pages_only=True)
    docs = site_library.root / "build" / "docs"
    for name in ("design.md", "search.md", "assets/qkb.css", "papers/tiny-sign.md", "years/2015.md"):
        assert (docs / name).is_file()
    assert (report.records, report.site) == (3, None)
    assert report.files == len(report.changes.written)
    assert not (site_library.root / "build" / "site").exists()


def test_a_rebuild_writes_only_what_changed(site_library: LibraryMaker) -> None:
    build(site_library.place, pages_only=True)
    assert build(site_library.place, pages_only=True).changes.written == ()
    path = site_library.root / "papers" / "2017" / "wide-steps.yaml"
    path.write_text(path.read_text().replace("Training is short.", "Training is long."))
    changes = build(site_library.place, pages_only=True).changes
    assert changes.written == ("papers/wide-steps.md",)
    assert changes.removed == ()


def test_a_deleted_record_takes_its_pages_along(site_library: LibraryMaker) -> None:
    build(site_library.place, pages_only=True)
    (site_library.root / "papers" / "2017" / "wide-steps.yaml").unlink()
    changes = build(site_library.place, pages_only=True).changes
    assert changes.removed == ("papers/wide-steps.md", "tags/qnn.md", "topics/ternary.md", "years/2017.md")
    assert "papers/tiny-sign.md" in changes.written  # wide-steps no longer builds upon it
    assert not (site_library.root / "build" / "docs" / "years" / "2017.md").exists()


def test_a_fault_leaves_the_pages_as_they_were(site_library: LibraryMaker) -> None:
    build(site_library.place, pages_only=True)
    site_library.record("bad", 2018, venue="NOWHERE")
    (site_library.root / "papers" / "2017" / "wide-steps.yaml").unlink()
    with pytest.raises(FaultsError):
        build(site_library.place, pages_only=True)
    assert (site_library.root / "build" / "docs" / "papers" / "wide-steps.md").is_file()


def test_output_goes_where_it_is_told(site_library: LibraryMaker, tmp_path: Path) -> None:
    report = build(site_library.place, tmp_path / "elsewhere", pages_only=True)
    assert report.folder == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere" / "docs" / "index.md").is_file()
    assert not (site_library.root / "build").exists()


def test_the_installed_copy_builds_into_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert build_folder(Place("/nowhere", bundled=True)) == tmp_path / "build"
    assert build_folder(Place("/nowhere")) == Path("/nowhere/build")


def test_the_contribution_guide_becomes_a_page(site_library: LibraryMaker, survey: Survey) -> None:
    site_library.write(
        "CONTRIBUTING.md",
        "# Contributing\n\nSee [how](site/pages/design.md), [a file](papers/x.yaml), [the web](https://x.example), "
        "[below](#a).\n"
        "\n## A\n\n```sh\nqkb [x](y)\n```\n",
    )
    page = page_files(site_library.place, survey)["contributing.md"].decode()
    assert page.count("# Contributing\n") == 1
    assert "See [how](design.md), a file, [the web](https://x.example), [below](#a)." in page
    assert "```sh\nqkb [x](y)\n```" in page


def test_without_the_guide_the_page_stays(site_library: LibraryMaker, survey: Survey) -> None:
    (site_library.root / "CONTRIBUTING.md").unlink()
    page = page_files(site_library.place, survey)["contributing.md"].decode()
    assert "# Contributing" in page
