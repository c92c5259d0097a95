from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb import paths
from qkb.paths import NoLibraryError, Place, locate

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker


def make_library(root: Path) -> Path:
    (root / "papers" / "vocabulary").mkdir(parents=True)
    return root


def test_a_place_names_its_folders(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.root == tmp_path
    assert place.papers == tmp_path / "papers"
    assert place.site == tmp_path / "site"
    assert place.mkdocs == tmp_path / "mkdocs.yml"
    assert not place.bundled
    assert os.fspath(place) == str(tmp_path)


def test_places_compare_by_folder_and_origin(tmp_path: Path) -> None:
    assert Place(tmp_path) == Place(str(tmp_path))
    assert hash(Place(tmp_path)) == hash(Place(str(tmp_path)))
    assert Place(tmp_path) != Place(tmp_path, bundled=True)
    assert Place(tmp_path) != str(tmp_path)
    assert repr(Place("/a")) == "Place('/a', bundled=False)"


def test_a_place_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        Place(tmp_path).bundled = True  # type: ignore[misc]


def test_found_in_the_folder_itself(tmp_path: Path) -> None:
    assert locate(make_library(tmp_path)) == Place(tmp_path)


def test_found_above(tmp_path: Path) -> None:
    make_library(tmp_path)
    below = tmp_path / "papers" / "2016"
    below.mkdir()
    assert locate(below).root == tmp_path


def test_the_nearest_wins(tmp_path: Path) -> None:
    make_library(tmp_path)
    inner = make_library(tmp_path / "inner")
    assert locate(inner / "papers").root == inner


def test_found_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_library(tmp_path)
    monkeypatch.chdir(tmp_path / "papers")
    assert locate().root == tmp_path


def test_a_file_named_vocabulary_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "vocabulary").write_text("")
    with pytest.raises(NoLibraryError):
        locate(tmp_path)


def test_without_a_library_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoLibraryError) as caught:
        locate(tmp_path)
    assert str(caught.value) == (
        f"no library in {tmp_path} or in a folder above it: qkb looks for a folder that contains papers/vocabulary. "
        "Go to a checkout of the survey, or name one with --root DIR."
    )


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        NoLibraryError, match=r"there is no folder .*/nowhere; name one that contains papers/vocabulary"
    ):
        locate(tmp_path / "nowhere")


def test_a_current_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(NoLibraryError, match="does not exist any more"):
        locate()


def test_the_bundled_copy_answers_where_nothing_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = make_library(tmp_path / "wheel" / "_bundled")
    checkout = make_library(tmp_path / "checkout")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(paths, "_bundled_folder", lambda: str(bundled))
    monkeypatch.chdir(elsewhere)
    assert locate() == Place(bundled, bundled=True)
    monkeypatch.chdir(checkout)
    assert locate() == Place(checkout)


def test_a_named_folder_is_never_replaced_by_the_bundled_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = make_library(tmp_path / "wheel" / "_bundled")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(paths, "_bundled_folder", lambda: str(bundled))
    with pytest.raises(NoLibraryError, match="no library in"):
        locate(elsewhere)


def test_caches_stand_in_the_checkout(library: LibraryMaker) -> None:
    assert library.place.cache() == library.root / ".qkb"
    assert (library.root / ".qkb").is_dir()


def test_the_bundled_copy_has_its_cache_with_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one, other = Place(tmp_path / "one", bundled=True).cache(), Place(tmp_path / "other", bundled=True).cache()
    assert one is not None
    assert other is not None
    assert one != other
    assert one.parent == other.parent == tmp_path / "cache" / "qkb"
    assert one.is_dir()
    assert not (tmp_path / "one").exists()


def test_the_home_folder_serves_where_no_cache_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = Place(tmp_path / "bundle", bundled=True).cache()
    assert cache is not None
    assert cache.parent == tmp_path / ".cache" / "qkb"


def test_a_read_only_checkout_has_its_cache_with_the_user(
    library: LibraryMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path).name != ".qkb")
    cache = library.place.cache()
    assert cache is not None
    assert cache.is_relative_to(tmp_path / "cache")


def test_a_file_in_the_way_of_the_cache(library: LibraryMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (library.root / ".qkb").write_text("not a folder")
    cache = library.place.cache()
    assert cache is not None
    assert cache.is_relative_to(tmp_path / "cache")


def test_no_cache_where_nothing_can_be_written(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert library.place.cache() is None
    assert library.place.cache_folder() is None


def test_no_cache_without_a_home(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert library.place.cache_folder() is None


def test_finding_a_library_imports_nothing_that_costs(library: LibraryMaker) -> None:
    program = (
        "import sys; from qkb.paths import locate; locate().cache_folder();"
        "print(*sorted({'pathlib', 'typing', 'dataclasses', 're', 'yaml', 'pydantic'} & set(sys.modules)))"
    )
    root = Path(paths.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=library.root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
