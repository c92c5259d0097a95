from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qkb.cli import main
from qkb.errors import UsageError
from qkb.hardware import reproduce
from qkb.hardware.reproduce import Done, Row, compare, run, text_table
from qkb.implementations import CannotRunError, Methods
from qkb.paths import Place, locate
from reference_impls.fpga.results import Gates, Hardware, Unit, read, result_path, to_json, write
from reference_impls.fpga.tools import MissingToolError

ROOT = Path(__file__).parents[2]
FOUND = Hardware(
    "mlp",
    0,
    "w1a1",
    "",
    597,
    (90.0, 90.0, 90.0),
    0,
    "pysim",
    (128, 128.0),
    258,
    (Unit("skid", 16, 1),),
    Gates(1000, 800, 300, 5, 0, 1700),
)
KEY = ("bnn", "mlp")


def done(found: Hardware | None = FOUND, **files: bytes) -> Done:
    text = "" if found is None else to_json(found)
    return Done(text, "" if found else "no integers", 1.5, {f".{name}": content for name, content in files.items()})


@pytest.fixture
def methods(tmp_path: Path) -> Methods:
    return Methods(tmp_path)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    """This checkout, whose methods answer at once and in this process."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(reproduce, "executor", lambda jobs, _dask: ThreadPoolExecutor(jobs))
    return locate(str(ROOT))


def test_without_an_accepted_result_it_says_how_to_make_one(methods: Methods) -> None:
    row = compare(KEY, methods, done(), accept=False)
    assert row.drift == ("there is no accepted result; --accept makes one",)
    assert (row.bits, row.images, row.cycles, row.lut, row.mhz, row.seconds) == ("w1a1", 597, 128, 1000, None, 1.5)
    assert not list(methods.home.iterdir())


def test_accepted_then_the_same_then_drift(methods: Methods) -> None:
    assert compare(KEY, methods, done(v=b"module"), accept=True).drift == ()
    path = result_path(methods.home, *reversed(KEY))
    assert read(path) == FOUND
    assert path.with_suffix(".v").read_bytes() == b"module"
    assert compare(KEY, methods, done(), accept=False).drift == ()
    worse = replace(FOUND, differences=2, interval=(128, 130.0))
    assert len(compare(KEY, methods, done(worse), accept=False).drift) == 3


def test_what_is_not_exact_is_never_accepted(methods: Methods) -> None:
    row = compare(KEY, methods, done(replace(FOUND, differences=1)), accept=True)
    assert row.drift
    assert not list(methods.home.iterdir())


def test_files_that_a_design_has_no_more_are_removed(methods: Methods) -> None:
    compare(KEY, methods, done(v=b"1", vcd=b"2"), accept=True)
    write(result_path(methods.home, "mlp", "bnn-plus"), FOUND)
    compare(KEY, methods, done(v=b"3"), accept=True)
    folder = result_path(methods.home, *reversed(KEY)).parent
    assert sorted(path.name for path in folder.iterdir()) == ["bnn-plus.json", "bnn.json", "bnn.v"]
    assert (folder / "bnn.v").read_bytes() == b"3"


def test_what_cannot_be_lowered_is_no_drift_unless_it_could_before(methods: Methods) -> None:
    assert compare(KEY, methods, done(None), accept=False).drift == ()
    write(result_path(methods.home, *reversed(KEY)), FOUND)
    row = compare(KEY, methods, done(None), accept=False)
    assert row.drift == ("there is an accepted result, but nothing can be lowered",)


def test_a_broken_accepted_result_is_named(methods: Methods) -> None:
    path = result_path(methods.home, *reversed(KEY))
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert "bnn.json: not a hardware result" in compare(KEY, methods, done(), accept=False).drift[0]


def test_the_table_shows_drift_and_names_what_was_left_out() -> None:
    rows = [
        Row("bnn", "mlp", "w1a1", 597, 0, 128.0, 1000, 64.5, 9.0),
        Row("twn", "mlp", "w2a8", 597, 3, 128.0, None, None, 8.0, ("3 of 597 images differ",)),
        Row("qsgd", "mlp", "", 0, 0, 0.0, None, None, 0.1, (), "offers no integers"),
    ]
    lines = text_table(rows).splitlines()
    assert lines[1].split() == ["bnn", "mlp", "w1a1", "597", "0", "128", "1000", "64.5", "9.0", "no"]
    assert lines[2].split()[-1] == "yes"
    assert lines[3] == "    3 of 597 images differ"
    assert lines[4] == "qsgd: offers no integers"


def test_every_method_is_measured_in_both_networks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    def measure(_home: str, *rest: Any) -> Done:
        seen.append(rest)
        return done(None)

    monkeypatch.setattr(reproduce, "measure", measure)
    rows = run(place, ["bnn", "twn"], jobs=2, route=True)
    assert [(row.id, row.network) for row in rows] == [("bnn", "mlp"), ("bnn", "cnn"), ("twn", "mlp"), ("twn", "cnn")]
    assert sorted(seen) == sorted(
        (name, network, True, False) for name in ("binary/bnn", "ternary/twn") for network in ("mlp", "cnn")
    )
    assert [row.id for row in run(place, ["bnn", "twn"], networks=["mlp"], part="2/2")] == ["twn"]


def test_a_missing_tool_stops_the_run_with_its_message(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: Any) -> Done:
        raise MissingToolError("verilator is not installed")

    monkeypatch.setattr(reproduce, "measure", measure)
    with pytest.raises(CannotRunError, match="bnn, mlp: verilator is not installed"):
        run(place, ["bnn"], networks=["mlp"])


def test_unknown_records_are_refused(place: Place) -> None:
    with pytest.raises(UsageError, match="nothing-like-it is no record"):
        run(place, ["nothing-like-it"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--route"], "--network and --route are for the hardware: add --target fpga"),
        (["--network", "mlp"], "add --target fpga"),
        (["--target", "fpga", "--dask", "tcp://x"], "--dask is for --target cpu"),
    ],
)
def test_wrong_usage_says_what_to_do(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--root", str(ROOT), *options]) == 2
    assert said in capsys.readouterr().err


def test_exit_code_and_json(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(reproduce, "measure", lambda *_: done(None))
    command = ["reproduce", "qsgd", "--root", str(place.root), "--target", "fpga", "--quiet", "--format", "json"]
    assert main(command) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["id"], row["network"], row["reason"]) for row in rows] == [
        ("qsgd", "mlp", "no integers"),
        ("qsgd", "cnn", "no integers"),
    ]
    monkeypatch.setattr(reproduce, "measure", lambda *_: done(replace(FOUND, differences=1)))
    assert main([*command[:6], "--quiet"]) == 1


@pytest.mark.slow
def test_a_method_without_integers_says_so_from_a_worker(place: Place) -> None:
    answer = reproduce.measure(str(place.root / "reference_impls"), "gradients/qsgd", "mlp", False, False)
    assert answer.text == ""
    assert "qsgd offers no weights or activations" in answer.reason
