"""The one door between records and reference implementations.

`qkb` finds implementations by their files, starts them through `reference_impls.kit`, and reads their accepted
results. Nothing here imports torch before an implementation is run.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qkb.records.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qkb.paths import Place
    from qkb.records.model import Record
    from reference_impls.kit.results import Result

WANTED = "wanted"
HINT = "install what the methods need: pip install 'qkb[impls]' (in a checkout: make test)"


class CannotRunError(Exception):
    """An implementation cannot be run; the message says why and what to do."""


@dataclass(frozen=True)
class Methods:
    """The folder that holds the implementations of a library."""

    home: Path

    @classmethod
    def of(cls, place: Place) -> Methods:
        """Return the checkout's own implementations, else the installed ones, and make them importable.

        Raises:
            CannotRunError: if there are neither.
        """
        own = place.root / "reference_impls"
        if not place.bundled and (own / "kit").is_dir():
            methods = cls(own)
            methods.make_importable()
            return methods
        spec = importlib.util.find_spec("reference_impls")
        if spec is None or spec.origin is None:
            raise CannotRunError(f"no folder reference_impls in {place.root}, and none is installed")
        return cls(Path(spec.origin).parent)

    def names(self) -> list[str]:
        """Return `family/module` of every implementation, sorted."""
        return importlib.import_module("reference_impls.kit.catalogue").names(self.home)  # type: ignore[no-any-return]

    def source(self, name: str) -> Path:
        """Return the file of an implementation."""
        return self.home / f"{name}.py"

    def result_path(self, record: str) -> Path:
        """Return the path of a record's accepted result."""
        return self.home / "results" / f"{record}.json"

    def result(self, record: str) -> Result | None:
        """Return a record's accepted result, None where there is none.

        Raises:
            ValueError: if the file is not a result.
        """
        path = self.result_path(record)
        if not path.is_file():
            return None
        return importlib.import_module("reference_impls.kit.results").read(path)  # type: ignore[no-any-return]

    def make_importable(self) -> None:
        """Let `import reference_impls` find this folder, ahead of an installed copy."""
        parent = str(self.home.parent)
        if parent not in sys.path:
            sys.path.insert(0, parent)

    def measure(
        self, name: str, seeds: list[int] | None = None, progress: Callable[[int, int], None] | None = None
    ) -> Result:
        """Run an implementation over its seeds (or others) and return the measurements.

        Raises:
            CannotRunError: if there is no such implementation, if torch or another package is missing, or if its seeds
                do not give the same finite metrics.
        """
        if name not in self.names():
            raise CannotRunError(f"there is no file {self.source(name)}")
        try:
            catalogue = importlib.import_module("reference_impls.kit.catalogue")
            measure = importlib.import_module("reference_impls.kit.measure").measure
            method = catalogue.load(name)
        except ImportError as error:
            raise CannotRunError(f"{name} cannot be imported ({error}); {HINT}") from error
        try:
            return measure(method, seeds, progress)  # type: ignore[no-any-return]
        except ValueError as error:  # what `measure` and an unwritten method raise
            raise CannotRunError(f"{name}: {error}") from error


def constant_of(text: str, name: str) -> str | None:
    """Return the text that a method's source gives to a name at its top level, without running it; None if none.

    >>> constant_of('RECORD, SEEDS = "twn", range(20)', "RECORD")
    'twn'
    """
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=False))
        for key, constant in pairs:
            if isinstance(key, ast.Name) and key.id == name and isinstance(constant, ast.Constant):
                return str(constant.value)
    return None


def record_of(source: Path) -> str | None:
    """Return the id that a method's file names as its `RECORD`, without running the file."""
    return constant_of(source.read_text(encoding="utf-8"), "RECORD")


def orphans(methods: Methods, records: Mapping[str, Record], tests: Path | None) -> list[Fault]:
    """Return what has lost its counterpart among records, implementations, tests and results.

    Args:
        methods: where implementations and results are.
        records: all records by id.
        tests: the folder `tests/reference_impls`; None where tests do not travel along (an installed wheel).
    """
    found: list[Fault] = []
    wanted_by = {record.implementation: record.id for record in records.values() if record.implementation != WANTED}
    for name in methods.names():
        file = f"reference_impls/{name}.py"
        try:
            named = record_of(methods.source(name))
        except SyntaxError as error:
            found.append(Fault(file, error.lineno or 1, "", f"does not parse: {error.msg}"))
            continue
        if named is None:
            found.append(Fault(file, 1, "RECORD", 'names no record; add RECORD = "<record id>"'))
        elif named not in records:
            found.append(Fault(file, 1, "RECORD", f"there is no record {named!r}; add it with a YAML file in papers/"))
        elif wanted_by.get(name) != named:
            message = f"the record {named!r} does not name this file; write implementation: {name} there"
            found.append(Fault(file, 1, "RECORD", message))
        family, module = name.split("/")
        if tests is not None and not (tests / family / f"test_{module}.py").is_file():
            found.append(Fault(file, 1, "", f"has no test; write tests/reference_impls/{family}/test_{module}.py"))
        if named is not None and not methods.result_path(named).is_file():
            found.append(Fault(file, 1, "", f"has no accepted result; run qkb reproduce {named} --accept"))
    for path in sorted(methods.home.glob("results/*.json")):
        found += _result_faults(path, methods, records)
    for path in sorted(methods.home.glob("results/fpga/*/*.json")):
        found += _hardware_faults(path, methods, records)
    return found


def _hardware_faults(path: Path, methods: Methods, records: Mapping[str, Record]) -> Iterable[Fault]:
    file = f"reference_impls/{path.relative_to(methods.home).as_posix()}"
    record = records.get(path.stem)
    if record is None or record.implementation == WANTED:
        yield Fault(file, 1, "", f"no record {path.stem!r} has an implementation; delete the file or name it there")
        return
    try:
        importlib.import_module("reference_impls.fpga.results").read(path)
    except ValueError as error:
        yield Fault(file, 1, "", str(error))


def _result_faults(path: Path, methods: Methods, records: Mapping[str, Record]) -> Iterable[Fault]:
    file = f"reference_impls/results/{path.name}"
    record = records.get(path.stem)
    if record is None or record.implementation == WANTED:
        yield Fault(file, 1, "", f"no record {path.stem!r} has an implementation; delete the file or name it there")
        return
    try:
        result = methods.result(path.stem)
    except ValueError as error:
        yield Fault(file, 1, "", str(error))
        return
    known = {claim.id for claim in record.claims}
    for outcome in result.claims if result is not None else ():
        if outcome.id not in known:
            message = f"the record has no claim {outcome.id!r}; its claims are {', '.join(sorted(known))}"
            yield Fault(file, 1, f"claims.{outcome.id}", message)
