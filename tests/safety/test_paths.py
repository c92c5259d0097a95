"""Names that lead elsewhere, clash, or mean something to a system: refused, and never followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.cli import main

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker


def faults(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["validate", "--root", str(library.root), "--quiet"]) == 1
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd", "/etc/passwd", "binary/../../x", "binary//x", "./x", "binary/x.py", "binary/x\0y", "~/x",
        "Binary/X", "binary/x/y", "binary\\x", "kit/run", "fpga/x", "results/x", "binary/__init__", "C:/x",
    ],
)  # fmt: skip
def test_an_implementation_is_a_file_of_a_family(
    name: str, library: LibraryMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    library.write("reference_impls/kit/run.py", "raise SystemExit('this must not run')\n")
    library.write("reference_impls/fpga/x.py", "raise SystemExit('this must not run')\n")
    library.write("reference_impls/binary/__init__.py", "")
    library.write("reference_impls/binary/tiny_sign.py", "")
    library.write("reference_impls/binary/scaled_sign.py", "")
    library.record("tricky", 2016, implementation=name)
    assert "papers/2016/tricky.yaml:" in faults(library, capsys)
    assert main(["run", "tricky", "--root", str(library.root)]) in {1, 2}
    assert "this must not run" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["../tiny-sign", "/etc/passwd", "..", ".", "", "2015/tiny-sign", "tiny-sign.yaml", "%2e%2e", "~"]
)
@pytest.mark.parametrize("command", ["show", "run", "reproduce"])
def test_an_id_on_the_command_line_is_no_path(
    command: str, name: str, library: LibraryMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    library.write("reference_impls/kit/__init__.py", "")
    assert main([command, name, "--root", str(library.root)]) in {1, 2}
    told = capsys.readouterr()
    assert told.out == ""
    assert "root:" not in told.err


@pytest.mark.parametrize(
    "file", ["Tiny-Sign.yaml", "tiny_sign.yaml", "tiny sign.yaml", "-x.yaml", "x..yaml", "tîny.yaml", "x.YAML.yaml"]
)
def test_an_id_has_one_spelling(file: str, library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    path = library.record("fine", 2016)
    path.rename(path.with_name(file))
    assert "is no id" in faults(library, capsys)


@pytest.mark.parametrize("name", ["con", "prn", "aux", "nul", "com1", "lpt9", "index"])
def test_a_name_that_means_something_to_a_system(
    name: str, library: LibraryMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    library.record(name, 2016)
    assert f"papers/2016/{name}.yaml:1: `{name}` means something else" in faults(library, capsys)


@pytest.mark.parametrize("what", ["file", "folder of a year", "vocabulary", "list"])
def test_a_link_is_not_followed(
    what: str, library: LibraryMaker, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    secret = outside / "secret.yaml"
    secret.write_text("password: 'hunter2'\n")
    link = {
        "file": library.papers / "2016" / "secret.yaml",
        "folder of a year": library.papers / "2013",
        "vocabulary": library.papers / "vocabulary" / "topics.yaml",
        "list": library.papers / "vocabulary" / "lists" / "secret.yaml",
    }[what]
    link.unlink(missing_ok=True)
    link.symlink_to(outside if what == "folder of a year" else secret)
    out = faults(library, capsys)
    assert "hunter2" not in out
    assert "password" not in out
    for command in (["fmt"], ["doctor", "--fix"], ["query"], ["build", "--pages-only"]):
        main([*command, "--root", str(library.root)])
        told = capsys.readouterr()
        assert "hunter2" not in told.out + told.err
    assert secret.read_text() == "password: 'hunter2'\n"
    assert link.is_symlink()


@pytest.mark.parametrize("year", ["0000", "1939", "2101", "20l6", "２０１６", "2016.", "2016-1"])
def test_a_folder_is_a_year(year: str, library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    library.write(f"papers/{year}/x.yaml", "title: x\n")
    assert f"papers/{year}" in faults(library, capsys)


def test_two_years_with_one_id(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    library.record("tiny-sign", 2016, title="Another", links={"url": "https://a.example"})
    assert "papers/2015/tiny-sign.yaml has the same id" in faults(library, capsys)
