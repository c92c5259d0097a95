"""Plans what is written for a new paper, and what is left to do; writes it, and never over a file that exists."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from qkb.errors import UsageError
from qkb.implementations import WANTED, record_of
from qkb.imports import catalogue, draft
from qkb.metadata.lookup import Answer, look_up
from qkb.records.fit import SLUG
from qkb.records.layout import lay_out
from qkb.records.load import MAX_ID, load_record, record_files
from qkb.records.text import shorten
from qkb.records.vocabulary import IS_SLUG, load_vocabulary
from qkb.records.yaml_lines import parse
from qkb.scaffold import clean, families, files, steps, venues

if TYPE_CHECKING:
    from pathlib import Path

    from qkb.imports.work import Work
    from qkb.metadata.http import Client
    from qkb.paths import Place


class RefusedError(Exception):
    """Nothing is written: the work is known, or nobody knows it; the message says what to do."""


@dataclass(frozen=True)
class Plan:
    """What is written for a paper.

    Args:
        id: id of the record.
        files: path and text of each file, in the order in which they are written.
        missing: keys that the record still needs.
        steps: what is left to do, in order.
        notes: what somebody has to look at.
        sources: the registries that told something.
        kept: files that were there already, and stay as they are.
    """

    id: str
    files: tuple[tuple[str, str], ...]
    missing: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    kept: tuple[str, ...] = field(default=())


def for_work(
    place: Place,
    given: Work,
    client: Client,
    *,
    name: str | None = None,
    family: str | None = None,
    with_method: bool = True,
    anyway: bool = False,
) -> Plan:
    """Plan the files of a work that has no record.

    Args:
        place: the library.
        given: what is known of the work; the registries are asked where that includes an identifier.
        client: asks them.
        name: id of the record; default: from the title.
        family: folder of its method; default: the one that the title speaks of, if any.
        with_method: whether to plan a method.
        anyway: whether to go on where the work may be that of a record.

    Raises:
        UsageError: a name cannot be one, or no year is known.
        RefusedError: the work is known, or nobody knows it.
        FaultsError: the record cannot be laid out.
    """
    given, refused = clean.work(given)
    known = catalogue.of_library(place)
    if name is not None:
        _check_name(name, place)
    _refuse_known(given, known, anyway=anyway)
    answer = look_up(given, client) if given.identifiers else Answer(given)
    if given.identifiers and not (answer.sources or answer.told or given.title):
        said = " and ".join(f"the {kind} {value}" for kind, value in given.identifiers)
        raise RefusedError(f"no registry knows {said}: check it, or describe the work with --title and --url")
    work, also = clean.work(answer.work)
    _refuse_known(work, known, anyway=anyway)
    year, whence = draft.year_of(work)
    if year is None:
        why = f" ({'; '.join(answer.told)})" if answer.told else ""
        raise UsageError(f"no year is known{why}, and the year is the folder of the record: give it with --year")
    vocabulary = load_vocabulary(place).vocabulary
    fields = draft.fields(replace(work, venue=venues.term(work.venue, vocabulary.venues)), vocabulary)
    chosen = name or draft.name_for(replace(work, year=year), known.works)
    module = files.module_of(chosen)
    titled = bool(work.title or name)
    family = family or (families.guess(work.title) if (place.root / "reference_impls").is_dir() else "")
    made: list[tuple[str, str]] = []
    if with_method and titled and family:
        made, _ = _method(place, chosen, family, module, work.title)
        fields["implementation"] = f"{family}/{module}"
    record = f"papers/{year}/{chosen}.yaml"
    notes = [*refused, *also, *answer.told, venues.unknown(fields.get("venue", ""), vocabulary.venues)]
    if whence == "arXiv id":
        notes.append(f"the year {year} is that of the arXiv id: the folder has to be the year of publication")
    if not titled:
        notes.append(f"no title is known: call the file as people call the work, not {chosen}.yaml")
    missing = draft.missing(fields)
    return Plan(
        chosen,
        ((record, text(fields, record)), *made),
        missing,
        steps.of_record(chosen, record, missing, answer.sources, reached=answer.reached)
        + (steps.of_method(chosen, family, module) if made else steps.without_method(chosen, place, asked=with_method)),
        tuple(dict.fromkeys(filter(None, notes))),
        answer.sources,
    )


def for_method(place: Place, name: str, family: str | None = None) -> Plan:
    """Plan the files of the method of a record that exists.

    Raises:
        UsageError: the family is none, or has to be named.
        RefusedError: there is nothing left to write.
    """
    file = next(file for file in record_files(place)[0] if file.rpartition("/")[2] == f"{name}.yaml")
    found = load_record(place.root / file, place.root).draft
    said = found.record.implementation if found is not None and found.sound("implementation") else WANTED
    title = found.record.title if found is not None and found.sound("title") else ""
    if said != WANTED:
        there, _, module = said.partition("/")
        if family not in (None, there):
            raise UsageError(f"--family {family}: {file} says {said}")
        family = there
    else:
        family, module = family or families.guess(title), files.module_of(name)
    if not family:
        raise UsageError(f"name the family of the method with --family: {', '.join(families.names(place.root))}")
    made, kept = _method(place, name, family, module, title)
    if not made:
        raise RefusedError(f"{name} has a record ({file}) and a method ({kept[0]}): there is nothing to write")
    to_name = (f"{file}: write implementation: {family}/{module}",) if said == WANTED else ()
    return Plan(name, tuple(made), steps=to_name + steps.of_method(name, family, module), kept=(file, *kept))


def write(plan: Plan, place: Place) -> tuple[list[str], list[str]]:
    """Write the files of a plan; return the paths that were written, and those that existed in the meantime.

    Raises:
        RefusedError: the first file, on which the others depend, exists.
        OSError: a file cannot be written.
    """
    written: list[str] = []
    there: list[str] = []
    for path, content in plan.files:
        done = draft.create(place.root / path, content)
        if not done and not written:
            raise RefusedError(f"{path} exists already: nothing is written")
        (written if done else there).append(path)
    return written, there


def text(said: dict[str, Any], file: str) -> str:
    """Return the text of a record's file in the canonical layout."""
    return lay_out(parse(json.dumps(said, ensure_ascii=False).encode(), file), file)


def _method(place: Place, name: str, family: str, module: str, title: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the files of a method, and those of them that exist.

    Raises:
        RefusedError: a method of another record has this name.
    """
    families.checked(family, place.root)
    paths = {
        files.method_path(family, module): files.method(name, family, module, title),
        f"reference_impls/{family}/__init__.py": files.family_text(family),
        files.test_path(family, module): files.test(family, module),
    }
    source = place.root / files.method_path(family, module)
    if source.is_file() and _owner(source) != name:
        raise RefusedError(f"{files.method_path(family, module)} is another record's method: give another --id")
    kept = [path for path in paths if (place.root / path).exists()]
    made = [(path, content) for path, content in paths.items() if path not in kept]
    kept.sort(key=lambda path: path.endswith("__init__.py"))
    return ([] if all(path.endswith("__init__.py") for path, _ in made) else made), kept


def _owner(source: Path) -> str | None:
    try:
        return record_of(source)
    except (SyntaxError, ValueError):
        return None


def _check_name(name: str, place: Place) -> None:
    if not IS_SLUG.fullmatch(name):
        raise UsageError(f"--id {shorten(name)!r} is no id: {SLUG}")
    if len(name) > MAX_ID:
        raise UsageError(f"--id has {len(name)} characters: shorten it to {MAX_ID}")
    for file in record_files(place)[0]:
        if re.fullmatch(rf"(?:.*/)?{re.escape(name)}\.ya?ml", file):
            raise RefusedError(f"--id {name}: there is {file} already; choose another id")


def _refuse_known(work: Work, known: catalogue.Catalogue, *, anyway: bool) -> None:
    if not (work.identifiers or work.title or work.url or work.pdf):
        return
    verdict = known.find(work)
    if verdict.status == "known":
        name = verdict.ids[0]
        raise RefusedError(f"this work has a record: {name}, by its {verdict.why}; its method: qkb new {name}")
    if verdict.status == "ambiguous" and not anyway:
        raise RefusedError(
            f"this may be the work of {' or '.join(verdict.ids)}: {verdict.why}. If it is another work, add --anyway"
        )
