from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from qkb.commands.run import figure, find_record, run
from qkb.errors import UsageError
from qkb.implementations import CannotRunError
from reference_impls.kit.results import Curve, Outcome, Result

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

ROOT = Path(__file__).parents[2]
METHOD = '''r"""Tiny Sign (Lind and Ruiz 2015): signs.

$$ q = sign(w) $$, gradient 1. Differences from the paper
1. It is made up.
"""
from reference_impls.kit.claims import Difference
RECORD = "tiny-sign"
SEEDS = range(3)
CLAIMS = (Difference("one-bit", "ours", "theirs"),)
QUANTIZERS = ()
def reproduce(seed):
    return {"ours": 2.0 + seed / 10, "theirs": 1.0}
'''


@pytest.fixture
def checkout(library: LibraryMaker) -> LibraryMaker:
    """A library with its own kit and one method that takes no time."""
    shutil.copytree(ROOT / "reference_impls" / "kit", library.root / "reference_impls" / "kit")
    library.write("reference_impls/__init__.py", "")
    library.write("reference_impls/binary/__init__.py", "")
    library.write("reference_impls/binary/tiny_sign.py", METHOD)
    return library


def qkb(checkout: LibraryMaker, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qkb", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(checkout.root)}
    return subprocess.run(command, cwd=checkout.root, env=environment, capture_output=True, text=True, check=False)


def test_prints_what_the_paper_says_beside_what_was_measured(checkout: LibraryMaker) -> None:
    done = qkb(checkout, "run", "tiny-sign")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Tiny Sign: Networks with One-Bit Weights (FABCONF 2015)\n")
    assert "a weight takes one bit" in done.stdout
    assert "ours - theirs = 1.1 points" in done.stdout
    assert "drift: there is no accepted result yet" in done.stdout
    assert done.stderr == ""


def test_json_of_one_seed_is_data_and_nothing_else(checkout: LibraryMaker) -> None:
    done = qkb(checkout, "run", "tiny-sign", "--seed", "5", "--json")
    assert json.loads(done.stdout)["metrics"] == {"ours": [2.5], "theirs": [1.0]}


def test_agrees_with_the_accepted_result_and_writes_the_figure(checkout: LibraryMaker) -> None:
    assert qkb(checkout, "reproduce", "tiny-sign", "--accept", "--jobs", "1").returncode == 0
    done = qkb(checkout, "run", "tiny-sign", "--figure", "f.svg")
    assert "The accepted result agrees." in done.stdout
    assert ET.parse(checkout.root / "f.svg").getroot().tag.endswith("svg")  # noqa: S314 (our own file)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tiny-sgn"], 2, "there is no record 'tiny-sgn'. Did you mean 'tiny-sign'?"),
        (["zzz"], 2, "there is no record 'zzz'. See qkb list records."),
        (["wide-steps"], 1, "wide-steps has no implementation yet; CONTRIBUTING.md"),
        (["scaled-sign"], 1, "there is no file"),
        (["tiny-sign", "--seed", "x"], 2, "invalid int value: 'x'"),
        (["tiny-sign", "--figure", "no/such/folder.svg"], 2, "the figure cannot be written"),
    ],
)
def test_faults_are_named_without_a_traceback(
    checkout: LibraryMaker, arguments: list[str], code: int, said: str
) -> None:
    done = qkb(checkout, "run", *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_method_that_does_not_import_is_named(checkout: LibraryMaker) -> None:
    checkout.write("reference_impls/binary/tiny_sign.py", "import no_such_package\n" + METHOD)
    done = qkb(checkout, "run", "tiny-sign")
    assert done.returncode == 1
    assert "binary/tiny_sign cannot be imported (No module named 'no_such_package')" in done.stderr


def test_a_method_that_fails_says_why(checkout: LibraryMaker) -> None:
    checkout.write("reference_impls/binary/tiny_sign.py", METHOD.replace("1.0}", "float('nan')}"))
    done = qkb(checkout, "run", "tiny-sign")
    assert done.returncode == 1
    assert "qkb run: binary/tiny_sign: seed 0 returned a metric that is not finite" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_is_plain_python(library: LibraryMaker) -> None:
    with pytest.raises(UsageError, match="nobody"):
        run("nobody", place=library.place)
    with pytest.raises(CannotRunError, match="no implementation yet"):
        run("wide-steps", place=library.place)
    assert find_record(library.place, "scaled-sign").year == 2016


def test_figure_holds_plots_and_curves() -> None:
    outcome = Outcome("c", "reproduced", "a - b", "> 0", 1.0, 0.5, 1.5, "", "")
    curve = Curve("weights", 1, (0.0, 1.0), (0.0, 1.0), (1.0, 1.0))
    result = Result("2", (0, 1), {"a": (2.0, 2.1), "b": (1.0, 1.1)}, (outcome,), (curve,))
    root = ET.fromstring(figure(result, "x"))  # noqa: S314 (our own text)
    assert len([child for child in root if child.tag.endswith("svg")]) == 2
