"""The account of an import: for each row, what it is, and what was or would be written."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qkb.formats import to_table
from qkb.imports import catalogue, draft, sources
from qkb.records.faults import visible
from qkb.records.vocabulary import load_vocabulary
from qkb.text import plain_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qkb.imports.work import Row, Skipped
    from qkb.paths import Place

Status = Literal["new", "known", "ambiguous", "not understood"]
STATUSES: tuple[Status, ...] = ("new", "known", "ambiguous", "not understood")
HEADER = ("WHERE", "STATUS", "ID", "YEAR", "TITLE")


@dataclass(frozen=True)
class Line:
    """What was found out about one row.

    Args:
        file: the source.
        line: its line.
        status: what the row is.
        ids: the record that it is, the ones that it may be, or the id of the new one.
        title: the title, as printed.
        year: the year, as far as it is known.
        why: why it is taken so, or what is wrong.
        text: what stands in the source.
        path: file of the new record, relative to the library; empty where its year is not known.
        missing: keys that the new record still needs.
        written: whether its file was written.
    """

    file: str
    line: int
    status: Status
    ids: tuple[str, ...] = ()
    title: str = ""
    year: int | None = None
    why: str = ""
    text: str = ""
    path: str = ""
    missing: tuple[str, ...] = ()
    written: bool = False


@dataclass
class Account:
    """Everything that an import found."""

    lines: list[Line] = field(default_factory=list)
    skipped: list[tuple[str, Skipped]] = field(default_factory=list)

    @property
    def totals(self) -> dict[str, int]:
        """How many rows there are of each status; they add up to `rows`."""
        counted = Counter(line.status for line in self.lines)
        return {"rows": len(self.lines), **{status: counted[status] for status in STATUSES}}

    @property
    def understood(self) -> bool:
        """Whether every row is new or known."""
        return all(line.status in ("new", "known") for line in self.lines)

    @property
    def homeless(self) -> list[Line]:
        """New works without a year, which says in which folder their files stand."""
        return [line for line in self.lines if line.status == "new" and not line.path]

    @property
    def written(self) -> list[Line]:
        """New works whose files were written."""
        return [line for line in self.lines if line.written]


def run(
    place: Place,
    files: Sequence[str],
    *,
    form: str = "auto",
    year: int | None = None,
    write: bool = False,
    notify: Callable[[str], None] | None = None,
) -> Account:
    """Compare the works that files name with a library, and write drafts of the new ones if asked to.

    Args:
        place: the library.
        files: the sources; `-` is standard input.
        form: their format, one of `sources.FORMATS` or `auto`.
        year: folder of new works whose source names no year; None leaves them unwritten.
        write: whether to write drafts.
        notify: called with the path of each file that was written.
    """
    readings = [(file, sources.read_file(file, form)) for file in files]  # all of them before anything is written
    known = catalogue.of_library(place)
    vocabulary = load_vocabulary(place).vocabulary
    account = Account()
    for file, reading in readings:
        account.skipped += ((file, skipped) for skipped in reading.skipped)
        for row in reading.rows:
            line = _line(file, row, known)
            if line.status == "new" and row.work is not None:
                work = row.work
                found, where = draft.year_of(work)
                found, where = (found, where) if found is not None else (year, "--year-folder" if year else "")
                said = draft.fields(work, vocabulary)
                path = f"papers/{found}/{line.ids[0]}.yaml" if found is not None else ""
                why = {"source": "", "": "no year is known"}.get(where, f"the year is that of the {where}")
                line = replace(line, year=found, path=path, missing=draft.missing(said), why=why)
                if write and path:
                    origin = f"{Path(file).name if file != '-' else 'standard input'}:{row.line}: {row.text}"
                    written = draft.create(place.root / path, draft.text(said, path, origin))
                    line = replace(line, written=written, why=why if written else "its file exists already")
                    if written and notify is not None:
                        notify(path)
                known.add(catalogue.of_work(line.ids[0], work, f"new in line {row.line} of {file}"))
            account.lines.append(line)
    return account


def _line(file: str, row: Row, known: catalogue.Catalogue) -> Line:
    """Return what a row is."""
    work = row.work
    if work is None:
        return Line(file, row.line, "not understood", why=row.problem, text=row.text)
    verdict = known.find(work)
    status: Status = verdict.status
    ids, why = verdict.ids, verdict.why
    if status == "new" and not work.title:
        name = ", ".join(f"{kind} {value}" for kind, value in work.identifiers)
        return Line(file, row.line, "not understood", why=f"{name} is not known, and there is no title", text=row.text)
    if status == "new":
        ids = (draft.name_for(work, known.works),)
    return Line(file, row.line, status, ids, work.title, work.year, why, row.text)


def table(account: Account, columns: int | None) -> str:
    """Return the account as aligned columns; for a terminal of some width, or uncut."""
    rows = []
    for line in account.lines:
        said = line.title or visible(line.text)
        reason = (
            line.why if line.status in ("ambiguous", "not understood") or (line.status == "new" and line.why) else ""
        )
        title = f"{said} [{reason}]" if reason else said
        year = str(line.year) if line.year else "-"
        rows.append((f"{line.file}:{line.line}", line.status, "|".join(line.ids) or "-", year, title))
    return to_table.align(rows, HEADER, columns, (32, 14, 32, 4))


def as_json(account: Account, *, verbose: bool) -> dict[str, Any]:
    """Return the account as plain data."""
    data: dict[str, Any] = {"totals": account.totals, "rows": [asdict(line) for line in account.lines]}
    if verbose:
        data["skipped"] = [{"file": file, **asdict(skipped)} for file, skipped in account.skipped]
    return data


def dump(account: Account, form: str, *, verbose: bool = False, columns: int | None = None) -> str:
    """Return the account as `table`, `json` or `jsonl` (one row per line)."""
    if form == "json":
        return plain_json(json.dumps(as_json(account, verbose=verbose), ensure_ascii=False, indent=2)) + "\n"
    if form == "jsonl":
        return "".join(plain_json(json.dumps(asdict(line), ensure_ascii=False)) + "\n" for line in account.lines)
    return table(account, columns)
