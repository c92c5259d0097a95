"""The files of a method that nobody has written yet: each fails until it is, and says what belongs there."""

from __future__ import annotations

import keyword
import re

from qkb.scaffold.clean import docstring

LONGEST = 85  # of title and id in the first line of a docstring
LONGEST_MODULE = 60

METHOD = '''\
r"""{head}): not written yet.

Replace this docstring: name (authors venue year): one sentence; what problem the work solves; the forward formula; the
gradient formula; which symbol is which name below; which version of the paper the numbers of equations are from.

Differences from the paper

1. (Sec. ...) What differs here, and why. One numbered entry for each.
"""

from __future__ import annotations

from reference_impls.kit.claims import Claim
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main

UNWRITTEN = (
    "{file} "
    "is not written yet: replace this by pure functions, thin modules, and a reproduce(seed) "
    "that measures the method against its own ablation"
)

RECORD = "{record}"
SEEDS = range(20)


def reproduce(seed: int) -> dict[str, float]:
    """Return the metrics of the toy experiment for one seed."""
    raise ValueError(f"{{UNWRITTEN}} (asked for seed {{seed}})")


CLAIMS: tuple[Claim, ...] = ()
QUANTIZERS: tuple[Quantizer, ...] = ()

if __name__ == "__main__":
    raise SystemExit(main())
'''

TEST = """\
from __future__ import annotations

import pytest

from reference_impls.{family} import {module}

HERE = "{test}"


def test_it_is_written() -> None:
    unwritten = getattr({module}, "UNWRITTEN", None)
    assert unwritten is None, unwritten


def test_values_and_gradients_are_those_of_an_independent_oracle() -> None:
    pytest.fail(f"{{HERE}}: compare values and gradients with numpy from the formula, brute force or a worked example")


def test_every_level_is_reached() -> None:
    pytest.fail(f"{{HERE}}: walk all levels of the quantizer, with the ties between them and what lies beyond the ends")


def test_what_never_changes() -> None:
    pytest.fail(f"{{HERE}}: state invariants as properties (hypothesis): signs, symmetry, idempotence, bounds")


def test_it_is_not_its_ablation() -> None:
    pytest.fail(f"{{HERE}}: show a value or gradient that differs when plain rounding or sign replaces the method")
"""


def module_of(record: str) -> str:
    """Return the name of the module of a record's method.

    >>> module_of("xnor-net"), module_of("8-bit-nets"), module_of("lambda")
    ('xnor_net', 'method_8_bit_nets', 'lambda_method')
    """
    name = record.replace("-", "_")[:LONGEST_MODULE].rstrip("_")
    if not name[0].isalpha():
        return f"method_{name}"
    return f"{name}_method" if keyword.iskeyword(name) or keyword.issoftkeyword(name) else name


def method_path(family: str, module: str) -> str:
    """Return the path of a method."""
    return f"reference_impls/{family}/{module}.py"


def test_path(family: str, module: str) -> str:
    """Return the path of the tests of a method."""
    return f"tests/reference_impls/{family}/test_{module}.py"


def family_text(family: str) -> str:
    """Return the text of the file that makes a folder a family."""
    return f'"""Methods of the family {family}."""\n'


def method(record: str, family: str, module: str, title: str) -> str:
    """Return the text of a method that is not written yet.

    Args:
        record: id of its record.
        family: folder of the method.
        module: its name.
        title: title of the work; whatever it says, it stays inside the docstring.
    """
    head = docstring(re.sub(r"[()]", " ", title)) or record
    if len(head) + len(record) > LONGEST:
        head = head[: LONGEST - len(record) - 1].rpartition(" ")[0] + "…"
    return METHOD.format(head=f"{head} ({record}", file=method_path(family, module), record=record)


def test(family: str, module: str) -> str:
    """Return the text of the tests of a method that is not written yet."""
    return TEST.format(family=family, module=module, test=test_path(family, module))
