"""Loads records: the file, the model, the rules; every fault is collected, none is raised.

`load_record` reads one file, `load_all` the whole library with its vocabulary and all rules.
"""

from __future__ import annotations

import gc
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qkb.records import rules
from qkb.records.drafts import Draft, mend
from qkb.records.faults import Fault
from qkb.records.fit import SLUG, fit, merge
from qkb.records.model import Record
from qkb.records.text import shorten
from qkb.records.vocabulary import IS_SLUG, Vocabulary, load_vocabulary
from qkb.records.yaml_lines import line_of, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from qkb.paths import Place

YEAR = re.compile(r"(?:19[4-9]\d|20\d\d|2100)")
IN_PAPERS = frozenset(["vocabulary", "schema.json", "README.md"])
SUFFIXES = (".yaml", ".yml")
MAX_ID = 64
# Names that Windows keeps for devices, whatever their ending, and the name of the page that leads to all others.
RESERVED = frozenset(
    ["con", "prn", "aux", "nul", "index", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))]
)
PATH_KEYS = {"id": "the name of the file is the id", "year": "the name of the folder is the year"}


@dataclass(frozen=True)
class Loaded:
    """One file of a record.

    Args:
        record: the record; None where the file has a fault.
        faults: what is wrong with this file on its own.
        lines: dotted path -> line of the file.
        draft: what rules look at: the record with its faulty parts replaced; None where nothing can be read.
    """

    record: Record | None
    faults: tuple[Fault, ...]
    lines: Mapping[str, int]
    draft: Draft | None = None


@dataclass(frozen=True)
class Papers:
    """A whole library.

    Args:
        records: id -> record, by year and id; only records whose files have no fault of their own.
        lines: id -> dotted path -> line.
        vocabulary: the terms without fault.
        faults: everything that is wrong, sorted by file and line.
        files: id -> file, relative to the root, also of records with faults.
    """

    records: dict[str, Record]
    lines: dict[str, Mapping[str, int]]
    vocabulary: Vocabulary
    faults: tuple[Fault, ...]
    files: dict[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> list[str]:
        """Ids of the records whose implementation is still wanted."""
        return [record.id for record in self.records.values() if record.implementation == rules.WANTED]


def load_record(path: Path, root: Path) -> Loaded:
    """Load one record; `root` is the folder that contains `papers`."""
    try:
        file = path.relative_to(root).as_posix()
    except ValueError:
        file = path.as_posix()
    return _load(str(path), file)


def _load(path: str, file: str) -> Loaded:
    """Load the record at a path; `file` is its name in faults, and says its id and its year."""
    parsed = read(path, file)
    faults = list(_misnamed(file))
    if parsed.data is None:
        return Loaded(None, (*faults, *parsed.faults), parsed.lines)
    named = not faults
    name, year = "unnamed", 2000
    if named:
        name = file.rpartition("/")[2].removesuffix(".yaml")
        year = int(file.split("/")[1])
    faults += (
        Fault(file, line_of(parsed.lines, key), key, f"{PATH_KEYS[key]}: remove this key")
        for key in PATH_KEYS
        if key in parsed.data
    )
    value = {**parsed.data, "id": name, "year": year}
    record, wrong = fit(value, Record, file=file, parsed=parsed)
    faults += merge(parsed, wrong)
    if record is not None and not faults:
        return Loaded(record, (), parsed.lines, Draft(file, record, parsed.lines))
    faulty = tuple(fault.path for fault in faults if fault.path)
    mended = record or mend(value, faulty)
    draft = Draft(file, mended, parsed.lines, faulty) if named and mended is not None else None
    return Loaded(None, tuple(sorted(faults)), parsed.lines, draft)


def load_all(place: Place) -> Papers:
    """Load a library and check it against every rule."""
    with _no_collections():
        vocabulary = load_vocabulary(place)
        files, strays = record_files(place)
        faults = [*vocabulary.faults, *strays]
        found = {file: _load(os.path.join(place, file), file) for file in files}  # noqa: PTH118 (quicker)
        names: dict[str, str] = {}
        drafts = []
        records: dict[str, Record] = {}
        lines: dict[str, Mapping[str, int]] = {}
        for file, loaded in found.items():
            faults += loaded.faults
            name = file.rpartition("/")[2].rpartition(".")[0]
            names.setdefault(name, file)
            if loaded.draft is not None:
                drafts.append(loaded.draft)
            if loaded.record is not None and name not in records:
                records[name], lines[name] = loaded.record, loaded.lines
        faults += rules.check(drafts, frozenset(names), vocabulary, place.root)
    return Papers(records, lines, vocabulary.vocabulary, tuple(sorted(faults)), names)


def record_files(place: Place) -> tuple[list[str], list[Fault]]:
    """List the files that are, or mean to be, records, by name; and faults for what has no place among them."""
    files: list[str] = []
    faults: list[Fault] = []
    for entry in _entries(place.papers):
        file = f"papers/{entry.name}"
        if entry.name in IN_PAPERS:
            continue
        if entry.is_dir(follow_symlinks=False) and YEAR.fullmatch(entry.name):
            for inner in _entries(entry):
                if inner.name.endswith(SUFFIXES) and not inner.is_dir(follow_symlinks=False):
                    files.append(f"{file}/{inner.name}")
                else:
                    message = "nothing reads this: only records, <id>.yaml, stand in the folder of a year"
                    faults.append(Fault(f"{file}/{inner.name}", 1, "", message))
        elif entry.name.endswith(SUFFIXES) and not entry.is_dir(follow_symlinks=False):
            files.append(file)
        else:
            faults.append(Fault(file, 1, "", "nothing reads this: records stand in papers/<year>/<id>.yaml"))
    return files, faults


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """List a folder by name, without hidden files and what editors leave behind."""
    with os.scandir(folder) as entries:
        seen = [entry for entry in entries if not entry.name.startswith(".") and not entry.name.endswith("~")]
    return sorted(seen, key=lambda entry: entry.name)


def _misnamed(file: str) -> Iterator[Fault]:
    """Find what is wrong with the path of a record."""
    folder, _, name = file.rpartition("/")
    top, _, year = folder.partition("/")
    stem, dot, suffix = name.rpartition(".")
    if top != "papers" or not YEAR.fullmatch(year):
        yield Fault(file, 1, "", "a record stands in the folder of its year: papers/<year>/<id>.yaml")
    if not dot or suffix != "yaml":
        yield Fault(file, 1, "", f"the name of a record ends in .yaml: rename it to {stem or name}.yaml")
    if not IS_SLUG.fullmatch(stem):
        yield Fault(file, 1, "", f"`{shorten(stem)}` is no id: {SLUG}")
    elif stem in RESERVED:
        yield Fault(file, 1, "", f"`{stem}` means something else to Windows or to the site: give the record another id")
    elif len(stem) > MAX_ID:
        yield Fault(file, 1, "", f"the id has {len(stem)} characters: shorten it to {MAX_ID}")


@contextmanager
def _no_collections() -> Iterator[None]:
    """Pause the garbage collector: it would search a growing heap again and again for cycles that are not there."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
