"""An installed wheel carries records and implementations and works in any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.wheel, pytest.mark.slow]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network and unpacked the way pip would."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run([*command, "-q"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("qkb-*.whl")
    target = folder / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def qkb(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "HOME": str(cwd), "XDG_CACHE_HOME": str(cwd / "cache")}
    command = [sys.executable, "-P", "-m", "qkb", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_queries_answer_from_the_bundled_records(installed: Path, tmp_path: Path) -> None:
    done = qkb(installed, tmp_path, "query", "--tag", "bnn", "--year", "2017", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert {"abc-net", "finn"} <= {row["id"] for row in json.loads(done.stdout)}


def test_records_shown_have_their_results(installed: Path, tmp_path: Path) -> None:
    done = qkb(installed, tmp_path, "show", "xnor-net")
    assert done.returncode == 0, done.stderr
    assert "reproduced" in done.stdout


def test_methods_run_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = qkb(installed, tmp_path, "run", "twn", "--seed", "0", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seeds"] == [0]


def test_the_site_is_built_into_the_current_folder(installed: Path, tmp_path: Path) -> None:
    done = qkb(installed, tmp_path, "build", "--pages-only")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "build" / "docs" / "papers" / "xnor-net.md").is_file()


def test_a_checkout_above_the_current_folder_wins(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "papers" / "vocabulary").mkdir(parents=True)
    done = qkb(installed, tmp_path, "query", "--format", "ids")
    assert done.stdout == ""
    assert done.returncode == 1


def test_the_wheel_holds_no_torch_requirement_in_its_core(installed: Path) -> None:
    (metadata,) = installed.glob("qkb-*.dist-info/METADATA")
    required = [line for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist")]
    assert required
    assert not [line for line in required if "torch" in line and "extra ==" not in line]
