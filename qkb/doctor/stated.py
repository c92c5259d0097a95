"""Reads what a method's file claims from its text; nothing of the file is run, and torch is not needed."""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_SOURCE = 1_000_000
SUMS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
# What each kind of claim is made of, in order; `reference_impls.kit.claims` has the meaning.
KEYS = {
    "Difference": ("id", "metric", "baseline", "margin", "direction", "unit", "remark"),
    "Exact": ("id", "metric", "relation", "expected", "tolerance", "unit", "remark"),
}


class UnclearError(Exception):
    """An expression says what it says only when it is run."""


def stated(source: Path) -> dict[str, dict[str, str]] | None:
    """Return what a file's CLAIMS state: claim id -> `quantity`, `bound`, `unit`, `remark`, as far as that is clear.

    None where the text does not show which claims there are: where CLAIMS is computed, for instance.

    Raises:
        OSError: the file cannot be read.
        SyntaxError, ValueError: it is no Python.
    """
    with source.open("rb") as stream:
        text = stream.read(MAX_SOURCE)
    try:
        reader = _Reader(ast.parse(text))
    except RecursionError:
        return None
    calls = reader.names.get("CLAIMS")
    if not isinstance(calls, ast.Tuple | ast.List):
        return None
    found: dict[str, dict[str, str]] = {}
    try:
        for call in calls.elts:
            name, said = reader.claim(call)
            found[name] = said
    except (UnclearError, RecursionError):
        return None
    return found


@dataclass
class _Reader:
    """The names that a module gives to values at its top level."""

    module: ast.Module
    names: dict[str, ast.expr] = field(init=False)

    def __post_init__(self) -> None:
        self.names = {}
        for node in self.module.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                self.names[node.target.id] = node.value
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    self._name(target, node.value)

    def _name(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = value
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for one, other in zip(target.elts, value.elts, strict=True):
                self._name(one, other)

    def value(self, node: ast.expr, depth: int = 0) -> Any:
        """Return the text or number that an expression says; UnclearError where it has to be run."""
        if depth > 20:
            raise UnclearError
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float):
            return node.value
        if isinstance(node, ast.Name) and node.id in self.names:
            return self.value(self.names[node.id], depth + 1)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self.value(node.operand, depth + 1)
            if isinstance(inner, int | float):
                return -inner
        if isinstance(node, ast.BinOp) and type(node.op) in SUMS:
            left, right = self.value(node.left, depth + 1), self.value(node.right, depth + 1)
            numbers = isinstance(left, int | float) and isinstance(right, int | float)
            if numbers or (isinstance(left, str) and isinstance(right, str) and isinstance(node.op, ast.Add)):
                try:
                    return SUMS[type(node.op)](left, right)
                except ArithmeticError:
                    raise UnclearError from None
        raise UnclearError

    def claim(self, node: ast.expr) -> tuple[str, dict[str, str]]:
        """Return the id of a claim and what it states."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYS):
            raise UnclearError
        keys = KEYS[node.func.id]
        if len(node.args) > len(keys):
            raise UnclearError
        given = dict(zip(keys, node.args, strict=False))
        given |= {word.arg: word.value for word in node.keywords if word.arg is not None}
        if any(word.arg is None for word in node.keywords) or any(isinstance(arg, ast.Starred) for arg in node.args):
            raise UnclearError
        clear: dict[str, Any] = {}
        for key, expression in given.items():
            try:
                clear[key] = self.value(expression)
            except UnclearError:
                continue
        if "id" not in clear or not given.keys() <= set(keys):
            raise UnclearError
        return str(clear["id"]), _said(node.func.id, clear, given.keys() - clear.keys())


def _said(kind: str, clear: dict[str, Any], unclear: set[str]) -> dict[str, str]:
    """Return what a claim states in the words of an accepted result, without what depends on something unclear."""
    claims = import_module("reference_impls.kit.claims")
    filled: dict[str, Any] = {**dict.fromkeys(("metric", "baseline", "relation", "expected"), ""), **clear}
    made = getattr(claims, kind)(**{key: value for key, value in filled.items() if key in KEYS[kind]})
    said = {"unit": made.unit, "remark": made.remark, "quantity": made.quantity}
    if kind == "Difference" and not unclear & {"margin", "direction"}:
        said["bound"] = f"{'>' if made.direction == 'above' else '<'} {made.margin:g}"
    needed = {"quantity": {"metric", "baseline", "relation", "expected"}, "unit": {"unit"}, "remark": {"remark"}}
    return {key: str(value) for key, value in said.items() if not unclear & needed.get(key, set())}
