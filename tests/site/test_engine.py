from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.site.build import build
from qkb.site.engine import SiteError, make_site
from qkb.site.tree import MARK, ForeignFolderError, synchronize

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import LibraryMaker

CONFIG = """\
site_name: small
theme: {name: mkdocs}
plugins: []
nav: [{Home: index.md}]
validation: {links: {anchors: warn}}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A site of one page with a plain theme."""
    (tmp_path / "mkdocs.yml").write_text(CONFIG)
    synchronize(tmp_path / "docs", {"index.md": b"# One\n\nword\n"})
    (tmp_path / "site" / "theme").mkdir(parents=True)
    return tmp_path


def made(small: Path) -> bool:
    return make_site(small / "mkdocs.yml", small / "docs", small / "out")


def test_a_site_that_is_up_to_date_is_left_alone(small: Path) -> None:
    assert made(small)
    stamp = (small / "out" / "index.html").stat().st_mtime_ns
    assert not made(small)
    assert (small / "out" / "index.html").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("changed", ["docs/index.md", "mkdocs.yml", "site/theme/main.html"])
def test_a_change_of_page_configuration_or_theme_makes_it_anew(small: Path, changed: str) -> None:
    assert made(small)
    path = small / changed
    path.write_text(path.read_text() + "\n" if path.exists() else "x")
    assert made(small)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("[x](missing.md)", "'missing.md'"),
        ("[x](#nowhere)", "#nowhere"),
    ],
)
def test_a_warning_stops_the_build_and_the_old_site_stays(small: Path, page: str, said: str) -> None:
    assert made(small)
    synchronize(small / "docs", {"index.md": f"# Two\n\n{page}\n".encode()})
    with pytest.raises(SiteError, match=said):
        made(small)
    assert "<h1" in (small / "out" / "index.html").read_text()
    assert "One" in (small / "out" / "index.html").read_text()
    assert {path.name for path in small.iterdir()} == {"docs", "mkdocs.yml", "out", "site"}


def test_a_broken_configuration_is_told(small: Path) -> None:
    (small / "mkdocs.yml").write_text("site_name: x\ntheme: {name: nowhere}\n")
    with pytest.raises(SiteError, match="theme"):
        made(small)


def test_a_failing_indexer_is_told(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(SiteError, match="pagefind failed"):
        made(small)
    assert not (small / "out" / "index.html").exists()


def test_the_folders_of_others_are_never_replaced(small: Path) -> None:
    (small / "out").mkdir()
    (small / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(ForeignFolderError):
        made(small)
    assert [path.name for path in (small / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.slow
def test_the_whole_site_is_built_strictly(site_library: LibraryMaker) -> None:
    assert build(site_library.place).site
    site = site_library.root / "build" / "site"
    for page in ("index.html", "papers/tiny-sign/index.html", "search/index.html", "pagefind/pagefind.js", MARK):
        assert (site / page).is_file()
    assert build(site_library.place).site is False
    (site_library.root / "papers" / "2017" / "wide-steps.yaml").unlink()
    assert build(site_library.place).site
    assert not (site / "papers" / "wide-steps").exists()


@pytest.mark.slow
def test_only_the_live_server_goes_without_the_policy(site_library: LibraryMaker) -> None:
    page = site_library.root / "build" / "site" / "index.html"
    build(site_library.place)
    assert "Content-Security-Policy" in page.read_text()
    assert build(site_library.place, policy=False).site
    assert "Content-Security-Policy" not in page.read_text()
