from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qkb.cli import main
from qkb.errors import UsageError
from qkb.hardware.run import Wish, run
from qkb.implementations import CannotRunError
from qkb.paths import Place, locate
from reference_impls.fpga import target
from reference_impls.fpga.lower import Folding
from reference_impls.fpga.network import CannotLowerError
from reference_impls.fpga.results import Hardware, Unit
from reference_impls.fpga.tools import MissingToolError

ROOT = Path(__file__).parents[2]
FOUND = Hardware("mlp", 0, "w1a1", "", 9, (90.0, 90.0, 90.0), 0, "pysim", (128, 128.0), 258, (Unit("skid", 16, 1),))


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    """This checkout; opening it makes its implementations importable."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    return locate(str(ROOT))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Calls of `target.measure`, which answers at once."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def measure(*positional: Any, **named: Any) -> tuple[str, Hardware]:
        calls.append((positional, named))
        named["progress"]("something is done")
        return "design", FOUND

    monkeypatch.setattr(target, "measure", measure)
    return calls


def test_options_reach_the_target(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    options = (
        "--target fpga --network cnn --seed 4 --interval 500 --pe 2 --simd 8 --backend pysim --images 9 --no-route"
    )
    assert main(["run", "bnn", "--root", str(ROOT), *options.split()]) == 0
    ((method, network), named) = asked[0]
    assert (method.RECORD, network, named["seed"], named["backend"]) == ("bnn", "cnn", 4, "pysim")
    assert (named["images"], named["route"]) == (9, False)
    assert named["folding"] == Folding(500, 2, 8)
    shown = capsys.readouterr()
    assert shown.out.startswith("Binarized Neural Networks (NeurIPS 2016)\n\nmlp, hidden layer w1a1")
    assert shown.err == ""


def test_the_network_has_an_interval_of_its_own(asked: list[Any], place: Place) -> None:
    run("bnn", Wish(), place=place)
    run("bnn", Wish(network="cnn"), place=place)
    assert [named["folding"].interval for _, named in asked] == [256, 324]


def test_json_is_the_accepted_results_form(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "bnn", "--root", str(ROOT), "--target", "fpga", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == [90.0, 90.0, 90.0]
    assert len(asked) == 1


def test_a_difference_is_a_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(target, "measure", lambda *_, **__: ("design", replace(FOUND, differences=3)))
    assert main(["run", "bnn", "--root", str(ROOT), "--target", "fpga"]) == 1
    assert "hardware and torch differ on 3 images" in capsys.readouterr().err


def test_files_are_written(asked: list[Any], place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written: list[tuple[Any, ...]] = []
    monkeypatch.setattr(target, "save_verilog", lambda *given: written.append(given))
    monkeypatch.setattr(target, "save_waveform", lambda *given: written.append(given))
    run("bnn", Wish(verilog=tmp_path, vcd=tmp_path / "x.vcd"), place=place)
    assert written == [("design", tmp_path, "bnn"), ("design", tmp_path / "x.vcd")]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--pe", "7"], "--pe is for the hardware: add --target fpga"),
        (["--interval", "0"], "--interval is for the hardware"),
        (["--no-route"], "--no-route is for the hardware"),
        (["--target", "fpga", "--figure", "x.svg"], "--figure is for the measurements on the CPU"),
        (["--target", "fpga", "--seed", "1", "--seed", "2"], "give --seed once"),
        (["--target", "fpga", "--pe", "-1"], "--pe must be at least 1"),
        (["--target", "fpga", "--interval", "0"], "--interval must be at least 1"),
        (["--target", "fpga", "--images", "1"], "--images must be at least 2"),
    ],
)
def test_wrong_usage_says_what_to_do(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "bnn", "--root", str(ROOT), *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CannotLowerError("nothing to lower"), 1, "qkb run: nothing to lower"),
        (MissingToolError("install verilator"), 1, "qkb run: install verilator"),
        (ValueError("PE 5 does not divide"), 2, "PE 5 does not divide"),
        (OSError("disk is full"), 2, "the design cannot be written: disk is full"),
    ],
)
def test_what_fails_is_one_line(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(target, "measure", fail)
    assert main(["run", "bnn", "--root", str(ROOT), "--target", "fpga"]) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_without_the_packages_the_hint_names_them(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reference_impls.fpga.target", None)
    with pytest.raises(CannotRunError, match=r"pip install 'qkb\[impls,fpga\]'"):
        run("bnn", Wish(), place=place)


def test_a_record_without_method_and_no_record(place: Place) -> None:
    with pytest.raises(CannotRunError, match="has no implementation yet"):
        run(wanted(place), Wish(), place=place)
    with pytest.raises(UsageError, match="there is no record 'bnm'"):
        run("bnm", Wish(), place=place)


def wanted(place: Place) -> str:
    """Return a record that waits for its method."""
    texts = {path.stem: path.read_text() for path in place.papers.glob("[0-9]*/*.yaml")}
    found = [key for key, text in sorted(texts.items()) if "implementation: wanted" in text]
    if not found:
        pytest.skip("every record has its method")
    return found[0]


def test_args_are_those_of_the_parser() -> None:
    from qkb.commands import run as run_command

    parser = argparse.ArgumentParser()
    run_command.configure(parser)
    names = set(vars(parser.parse_args(["bnn"])))
    assert set(run_command.FPGA_ONLY) <= names
