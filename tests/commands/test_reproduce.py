from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.commands.reproduce import Row, compare, executor, run, shard, text_table
from qkb.errors import UsageError
from qkb.implementations import Methods
from reference_impls.kit.results import Outcome, Result, write

if TYPE_CHECKING:
    from reference_impls.kit.claims import Verdict
    from tests.conftest import LibraryMaker

ROOT = Path(__file__).parents[2]
METHOD = """\
from reference_impls.kit.claims import Difference
RECORD = "{record}"
SEEDS = range(3)
CLAIMS = (Difference("{claim}", "ours", "theirs"),)
QUANTIZERS = ()
def reproduce(seed):
    return {{"ours": 2.0 + seed / 10, "theirs": 1.0}}
"""


@pytest.fixture
def checkout(library: LibraryMaker) -> LibraryMaker:
    """A library with its own kit and two methods that take no time."""
    shutil.copytree(ROOT / "reference_impls" / "kit", library.root / "reference_impls" / "kit")
    library.write("reference_impls/__init__.py", "")
    library.write("reference_impls/binary/__init__.py", "")
    for record, claim in (("tiny-sign", "one-bit"), ("scaled-sign", "scale-is-mean")):
        module = record.replace("-", "_")
        library.write(f"reference_impls/binary/{module}.py", METHOD.format(record=record, claim=claim))
        library.write(f"tests/reference_impls/binary/test_{module}.py", "")
    return library


def qkb(checkout: LibraryMaker, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qkb", "reproduce", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(checkout.root)}
    return subprocess.run(command, cwd=checkout.root, env=environment, capture_output=True, text=True, check=False)


def test_accept_then_agree_then_drift(checkout: LibraryMaker) -> None:
    first = qkb(checkout, "--jobs", "1")
    assert first.returncode == 1
    assert "there is no accepted result; --accept makes one" in first.stdout
    assert qkb(checkout, "--jobs", "2", "--accept").returncode == 0
    again = qkb(checkout, "--jobs", "1", "--format", "json")
    assert again.returncode == 0, again.stderr
    rows = json.loads(again.stdout)["rows"]
    assert [(row["id"], row["reproduced"], row["drift"]) for row in rows] == [
        ("scaled-sign", 1, []),
        ("tiny-sign", 1, []),
    ]
    source = checkout.root / "reference_impls/binary/tiny_sign.py"
    source.write_text(source.read_text().replace('"theirs": 1.0', '"theirs": 3.0'))
    drifted = qkb(checkout, "tiny-sign", "--jobs", "1")
    assert drifted.returncode == 1
    assert "claim one-bit: the accepted verdict is 'reproduced', now 'not reproduced'" in drifted.stdout
    assert "theirs: the accepted mean is 1, now 3" in drifted.stdout
    assert "[1/1] tiny-sign: drift" in drifted.stderr


def test_orphans_fail_a_whole_run_but_not_a_single_one(checkout: LibraryMaker) -> None:
    assert qkb(checkout, "--jobs", "1", "--accept", "--quiet").returncode == 0
    (checkout.root / "tests/reference_impls/binary/test_tiny_sign.py").unlink()
    whole = qkb(checkout, "--jobs", "1", "--quiet")
    assert whole.returncode == 1
    assert "reference_impls/binary/tiny_sign.py:1: has no test" in whole.stderr
    assert qkb(checkout, "tiny-sign", "--jobs", "1").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "nobody is no record; see qkb list records"),
        (["wide-steps"], "wide-steps has no implementation yet"),
        (["--shard", "3/2"], "--shard 3/2: write I/N with 1 <= I <= N"),
        (["--jobs", "-1"], "--jobs -1: at least one process is needed"),
    ],
)
def test_wrong_usage(checkout: LibraryMaker, arguments: list[str], said: str) -> None:
    done = qkb(checkout, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_shards_deal_out_everything_once() -> None:
    ids = list("abcdefg")
    parts = [shard(ids, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(one for part in parts for one in part) == ids
    assert shard(ids, None) == ids
    for bad in ("0/3", "4/3", "a/b", "1", "1/0", "-1/3"):
        with pytest.raises(UsageError, match="write I/N"):
            shard(ids, bad)


def test_run_returns_rows_in_process(checkout: LibraryMaker) -> None:
    rows, lost = run(checkout.place, ["tiny-sign"], jobs=1, accept=True)
    assert [(row.id, row.reproduced, row.drift) for row in rows] == [("tiny-sign", 1, ())]
    assert lost == []


def test_dask_is_asked_for_by_name_when_missing() -> None:
    with pytest.raises(UsageError, match="--dask"):
        executor(1, "tcp://127.0.0.1:1")


def test_compare_counts_verdicts(tmp_path: Path) -> None:
    verdicts: list[Verdict] = ["reproduced", "not reproduced", "inconclusive", "reproduced"]
    claims = tuple(Outcome("c", verdict, "a - b", "> 0", 1.0, 0.5, 1.5, "", "") for verdict in verdicts)
    result = Result("2", (0, 1), {"a": (1.0, 2.0)}, claims, ())
    methods = Methods(tmp_path)
    write(methods.result_path("x"), result)
    row = compare("x", methods, result, 1.5)
    assert row == Row("x", 2, 1, 1, (), 1.5)
    assert "x           2               1             1      1.5  no" in text_table([row])
    methods.result_path("x").write_text("{")
    assert "x.json: not a result file" in compare("x", methods, result, 0.0).drift[0]
