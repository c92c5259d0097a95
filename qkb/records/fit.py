"""Fits what a file says to a model, and says in plain words what does not fit: the path, the line, what to write."""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from qkb.errors import nearest
from qkb.records.faults import Fault
from qkb.records.text import may_be_unsafe, shorten, texts, unsafe
from qkb.records.yaml_lines import Parsed, line_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

ONE_LINE = "write one line of text, without spaces at its ends"
SLUG = "write small letters and digits with single hyphens between words, as in `weights-only`"
BITS = "write a whole number from 1 to 32, a range such as 2..8, or fp (ternary counts as 2)"
ADDRESS = "write a whole web address that begins with http:// or https://, without spaces or quotes"
BIT_KEYS = ("weights", "activations", "gradients", "errors")
# What a value must look like, by the name of its key.
SHAPES = {
    "pages": "write the first and the last page, as in 525-542, or one page or article number",
    "topics": SLUG,
    "builds_on": SLUG,
    "record": SLUG,
    "id": SLUG,
    "arxiv": 'write the identifier without `arXiv:`, address or version, in quotes: "1603.05279"',
    "doi": "write the DOI without the address before it, as in 10.1007/978-3-319-46493-0_32",
    "openreview": "write the forum id alone, as in B1ae1lZRb",
    "url": ADDRESS,
    "pdf": ADDRESS,
    "code": ADDRESS,
    "implementation": "write family/module, as in binary/xnor_net for reference_impls/binary/xnor_net.py, or wanted",
    "listed_in": "write list/section, as in quantization/weights-only",
    "notes": "write 3 to 8 sentences",
    **dict.fromkeys(BIT_KEYS, BITS),
}
MAX_HINTS = 50  # unknown keys of a file for which the nearest known one is looked for
AnyModel = TypeVar("AnyModel", bound=BaseModel)
OLD_ARXIV = re.compile(r"[a-z-]+(?:\.[A-Z]{2})?/\d{7}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One error: the dotted path, what to do, and the path of the line at which to say so."""

    path: str
    message: str
    at: str


def fit(
    value: Mapping[str, Any], model: type[AnyModel], *, file: str, parsed: Parsed, prefix: str = ""
) -> tuple[AnyModel | None, list[Fault]]:
    """Make a model from part of a parsed file; return it, or None, and a fault for everything that does not fit.

    A missing value is no fault here: the parser has told it.

    Args:
        value: what the file says in this part.
        model: the model that it must fit.
        file: name of the file in faults.
        parsed: the file, for the lines.
        prefix: dotted path of the part in the file.
    """
    found: list[Finding] = []
    # The whole file is quicker to look through than its texts, but not once for each of its parts; a backslash can hide
    # what the values say.
    if prefix or may_be_unsafe(parsed.text) or "\\" in parsed.text:
        found += (Finding(path, message, path) for path, text in texts(value) for message in unsafe(text))
    made = None
    try:
        made = model.model_validate(value)
    except ValidationError as error:
        found += explain(error, model)
    faults = []
    for finding in found:
        path, at = (join(prefix, part) for part in (finding.path, finding.at))
        faults.append(Fault(file, line_of(parsed.lines, at), path, finding.message))
    return (None if found else made), faults


def merge(parsed: Parsed, faults: list[Fault]) -> list[Fault]:
    """Return all faults of a file: a doubt goes where the value is wrong anyway."""
    wrong = {fault.path for fault in faults}
    return [*parsed.faults, *(doubt for doubt in parsed.doubts if doubt.path not in wrong), *faults]


def join(prefix: str, path: str) -> str:
    """Return the dotted path of a path below another.

    >>> join("claims[0]", "says"), join("", "notes"), join("topics", "[1]")
    ('claims[0].says', 'notes', 'topics[1]')
    """
    return f"{prefix}.{path}" if prefix and path and not path.startswith("[") else prefix + path


def dotted(loc: tuple[int | str, ...]) -> str:
    """Return pydantic's location as a dotted path.

    >>> dotted(("code", 1, "url"))
    'code[1].url'
    """
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def explain(error: ValidationError, model: type[BaseModel]) -> Iterator[Finding]:
    """Yield a finding for each error that the validation of plain data against a model met."""
    seen = set()
    unknown = 0
    for details in error.errors(include_url=False):
        loc = details["loc"]
        unknown += details["type"] == "extra_forbidden"
        if details["type"] == "extra_forbidden" and unknown > MAX_HINTS:
            yield Finding(dotted(loc), f"unknown key `{shorten(str(loc[-1]))}`", dotted(loc))
            continue
        if loc[-1:] in (("constrained-int",), ("constrained-str",)):  # the arms of a bit-width
            loc = loc[:-1]
        finding = _explain_one(details, loc, model)
        if finding is not None and finding.path not in seen:
            seen.add(finding.path)
            yield finding


def _explain_one(details: ErrorDetails, loc: tuple[int | str, ...], model: type[BaseModel]) -> Finding | None:
    path, kind, given = dotted(loc), details["type"], details["input"]
    name = next((part for part in reversed(loc) if isinstance(part, str)), "")
    owner = _model_at(model, loc[:-1])
    if kind == "missing":
        return _missing(path, name, owner, given)
    if kind == "extra_forbidden":
        return Finding(path, _unknown_key(name, owner), path)
    if given is None or (kind == "too_short" and given):  # the parser, or an item, has its own fault
        return None
    if kind == "model_type":
        keys = ": ..., ".join(_model_at(model, loc).model_fields)
        return Finding(path, f"{_shown(given)} is not right here: write a mapping, {{{keys}: ...}}", path)
    return Finding(path, _wrong_value(kind, name, given, details), path)


def _missing(path: str, name: str, owner: type[BaseModel], given: Mapping[str, Any]) -> Finding:
    """Say what the key is for and below which key it goes."""
    keys = list(owner.model_fields)
    before = [key for key in keys[: keys.index(name)] if key in given]
    parent = path.removesuffix(name)
    where = f"below `{before[-1]}`" if before else "as the first key"
    at = parent + before[-1] if before else parent.removesuffix(".")
    return Finding(path, f"this key is missing: add it {where} ({owner.model_fields[name].description})", at)


def _unknown_key(name: str, owner: type[BaseModel]) -> str:
    keys = [key for key in owner.model_fields if key not in {"id", "year"} or "notes" not in owner.model_fields]
    hint = nearest(name, keys) or f"The keys here are {', '.join(keys)}."
    return f"unknown key `{shorten(name)}`. {hint}"


def _wrong_value(kind: str, name: str, given: object, details: ErrorDetails) -> str:
    """Say what to write in place of a value."""
    shown = _shown(given)
    message = f"{shown} is not right here: {_shape(name, str(given))}"
    if kind == "literal_error":
        message = _wrong_word(given, details)
    elif kind == "too_short":
        message = "the list is empty: write at least one item"
    elif kind == "string_too_long":
        message = f"the text has {len(str(given))} characters: shorten it to {details['ctx']['max_length']}"
    elif kind == "bool_type":
        message = f"{shown} is not right here: write true or false, without quotes"
    elif kind == "int_type" and name not in BIT_KEYS:
        message = f"{shown} is not right here: write a whole number, without quotes"
    elif kind == "tuple_type":
        message = f"{shown} is not right here: write a list in brackets"
    elif kind == "string_type" and isinstance(given, int) and name not in BIT_KEYS:
        message = f'{shown} is no text here: put it in quotes, "{shown.strip("`")}"'
    return message


def _shown(given: object) -> str:
    """Return how a message names a value."""
    if isinstance(given, bool):
        return f"`{str(given).lower()}`"
    if isinstance(given, str):
        return f"`{shorten(given)}`" if given else "an empty text"
    if isinstance(given, tuple | list):
        return "a list"
    return "a mapping" if isinstance(given, dict) else f"`{given}`"


def _wrong_word(given: object, details: ErrorDetails) -> str:
    words = re.findall(r"'([^']*)'", details["ctx"]["expected"])
    known = f"write one of {', '.join(words)}"
    if not isinstance(given, str):
        return f"{_shown(given)} is not right here: {known}"
    hint = nearest(given, words)
    return f"unknown word `{shorten(given)}`; {known}" + (f". {hint}" if hint else "")


def _shape(name: str, given: str) -> str:
    """Say what a text must look like, with the very value where it can be read off the given one."""
    if name == "arxiv":
        found = re.search(r"(?<!\d)\d{4}\.\d{4,5}(?!\d)", given)
        if found:
            return f'write the identifier alone, in quotes: "{found[0]}"'
        if OLD_ARXIV.search(given):
            return "identifiers from before April 2007 have no key of their own: give the address as `url`"
    if name == "doi":
        found = re.search(r"10\.\d{4,9}/\S+", given)
        if found and found[0] != given:
            return f"write the DOI alone: {shorten(found[0])}"
    return SHAPES.get(name, ONE_LINE)


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model that describes the mapping at a location."""
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            model = _inner_model(model.model_fields[part].annotation) or model
    return model


def _inner_model(annotation: object) -> type[BaseModel] | None:
    """Return the model inside an annotation such as `tuple[Code, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = map(_inner_model, typing.get_args(annotation))
    return next(filter(None, inner), None)
