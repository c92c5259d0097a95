"""What is left to do after the files of a paper were written, in the order in which to do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkb.records.model import RecordFields
from qkb.scaffold import families, files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qkb.paths import Place


def of_record(
    name: str, file: str, missing: Sequence[str], sources: Sequence[str], *, reached: bool
) -> tuple[str, ...]:
    """Return what is left to do for a record."""
    told = " and ".join(filter(None, (", ".join(sources[:-1]), *sources[-1:])))
    first = f"{file}: compare what stands there with the paper" + (f"; it is from {told}" if told else "")
    if not reached:
        first = f"{file}: no registry could be asked; look everything up, or delete this and begin again later"
    described = RecordFields.model_fields
    return (
        first,
        *(f"{file}: write {key}: {described[key].description}" for key in missing),
        f"{file}: add bits, code, aliases and builds_on, as far as they apply to {name}",
        f"qkb validate {file} names what is missing or wrong; qkb fmt {file} lays it out",
    )


def of_method(name: str, family: str, module: str) -> tuple[str, ...]:
    """Return what is left to do for a method."""
    method, test = files.method_path(family, module), files.test_path(family, module)
    return (
        f"{method}: write the method, in the order that CONTRIBUTING.md gives; if {family} is not its family, move it",
        f"{test}: write the tests; each fails until then, and says what belongs there",
        f"make mutants METHOD={family}/{module} shows what the tests do not see",
        f"qkb run {name} shows what is measured; qkb reproduce {name} --accept accepts it",
    )


def without_method(name: str, place: Place, *, asked: bool) -> tuple[str, ...]:
    """Return what is left to do where no method was begun; `asked` says whether one was wanted."""
    if not asked:
        return ()
    known = ", ".join(families.names(place.root))
    return (f"qkb new {name} --family FAMILY begins its method, once the file has its id; FAMILY is one of {known}",)
