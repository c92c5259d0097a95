"""Accepted measurements: one small JSON file per method, and the comparison of a new run with it.

`results/<record id>.json` holds

- `torch`: the version that measured;
- `seeds`: the seeds, in order;
- `metrics`: for each key of `reproduce()` its value on every seed;
- `claims`: for each claim its id, verdict, quantity, bound, estimate, low, high, unit and remark. For a claim on a
  difference, `estimate` is the mean over seeds and `low`, `high` its 95 % interval; for an exact claim, `estimate` is
  the value nearest to (or farthest past) the bound and `low`, `high` the range over seeds;
- `quantizers`: for each quantizer on offer its name, bits and the points of its transfer and gradient curve.

This module needs neither torch nor numpy: the site is made from these files.
"""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reference_impls.kit.claims import Verdict
from reference_impls.kit.files import write_whole

DIGITS = 6  # significant digits kept of fractions: more than any training run repeats on another machine


@dataclass(frozen=True)
class Outcome:
    """What became of one claim."""

    id: str
    verdict: Verdict
    quantity: str
    bound: str
    estimate: float
    low: float
    high: float
    unit: str
    remark: str

    @property
    def exact(self) -> bool:
        """Whether the claim holds on every seed or not at all, with no interval in between."""
        return any(relation in self.quantity for relation in ("==", "<=", ">="))


@dataclass(frozen=True)
class Curve:
    """A quantizer sampled for its plot: `y` the values, `gradient` what reaches `x` in the backward pass."""

    name: str
    bits: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    gradient: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """The measurements of one method over all its seeds."""

    torch: str
    seeds: tuple[int, ...]
    metrics: dict[str, tuple[float, ...]]
    claims: tuple[Outcome, ...]
    quantizers: tuple[Curve, ...]

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over seeds."""
        return statistics.fmean(self.metrics[metric])

    def spread(self, metric: str) -> float:
        """Return the sample standard deviation of a metric over seeds, 0 for a single seed."""
        values = self.metrics[metric]
        return statistics.stdev(values) if len(values) > 1 else 0.0


def rounded(value: float, digits: int = DIGITS) -> float:
    """Round to significant digits, so that files do not change in their noise; whole numbers stay as they are.

    >>> rounded(93.30000012345), rounded(0.000123456789), rounded(1248424.0)
    (93.3, 0.000123457, 1248424.0)
    """
    return value if value.is_integer() else float(f"{value:.{digits}g}")


def shown(value: float) -> str:
    """Return a number for print: whole numbers in full, others to six digits.

    >>> shown(1248424.0), shown(48.83333333)
    ('1248424', '48.8333')
    """
    return f"{value:.0f}" if value.is_integer() else f"{value:.6g}"


def to_json(result: Result) -> str:
    """Return the file's text: numbers rounded, one metric or claim a line."""

    def tidy(value: Any) -> Any:
        if isinstance(value, float):
            return rounded(value)
        if isinstance(value, dict):
            return {key: tidy(item) for key, item in value.items()}
        return [tidy(item) for item in value] if isinstance(value, list | tuple) else value

    data = tidy(asdict(result))
    blocks = [f' "torch": {json.dumps(data["torch"])}', f' "seeds": {json.dumps(data["seeds"])}']
    metrics = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in data["metrics"].items())
    blocks.append(f' "metrics": {{\n{metrics}\n }}')
    for key in ("claims", "quantizers"):
        rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in data[key])
        blocks.append(f' "{key}": [\n{rows}\n ]' if rows else f' "{key}": []')
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def from_json(text: str) -> Result:
    """Return the result in a file's text.

    Raises:
        ValueError: if the text is not such a file; says what is missing.
    """
    try:
        data = json.loads(text)
        return Result(
            torch=data["torch"],
            seeds=tuple(data["seeds"]),
            metrics={key: tuple(map(float, values)) for key, values in data["metrics"].items()},
            claims=tuple(Outcome(**row) for row in data["claims"]),
            quantizers=tuple(
                Curve(row["name"], row["bits"], *(tuple(map(float, row[key])) for key in ("x", "y", "gradient")))
                for row in data["quantizers"]
            ),
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"not a result file ({error}); run `qkb reproduce --accept` for this method") from error


def read(path: Path) -> Result:
    """Read a result file; ValueError if it is not one, FileNotFoundError if there is none."""
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def write(path: Path, result: Result) -> None:
    """Write a result file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_json(result))


def drift(accepted: Result, measured: Result) -> list[str]:
    """Say how a new measurement differs from the accepted one; an empty list when it does not.

    A changed verdict, claim, metric, seed or curve is drift. So is a mean that moved by more than sampling error:
    three standard errors of the difference of the two means. Numbers without spread must be equal but for the
    last digit that is kept.
    """
    found = []
    if accepted.seeds != measured.seeds:
        found.append(f"seeds were {list(accepted.seeds)}, now {list(measured.seeds)}")
    if accepted.metrics.keys() != measured.metrics.keys():
        changed = ", ".join(sorted(accepted.metrics.keys() ^ measured.metrics.keys()))
        found.append(f"metrics appeared or went: {changed}")
    old = {claim.id: claim for claim in accepted.claims}
    new = {claim.id: claim for claim in measured.claims}
    found += [f"claim {key} appeared or went" for key in sorted(old.keys() ^ new.keys())]
    for key in sorted(old.keys() & new.keys()):
        if old[key].verdict != new[key].verdict:
            found.append(f"claim {key}: the accepted verdict is {old[key].verdict!r}, now {new[key].verdict!r}")
        if (old[key].quantity, old[key].bound) != (new[key].quantity, new[key].bound):
            found.append(f"claim {key} is stated otherwise: {new[key].quantity} {new[key].bound}")
    for key in accepted.metrics.keys() & measured.metrics.keys():
        before, now = accepted.mean(key), measured.mean(key)
        spreads = (accepted.spread(key), measured.spread(key))
        n = min(len(accepted.seeds), len(measured.seeds))
        error = math.hypot(*spreads) / math.sqrt(n) if 0.0 not in spreads else 0.0
        if not abs(now - before) <= max(3 * error, 2e-5 * abs(before), 1e-9):
            found.append(f"{key}: the accepted mean is {before:g}, now {now:g}, beyond sampling error {error:.2g}")
    return found + _curve_drift(accepted, measured)


def _curve_drift(accepted: Result, measured: Result) -> list[str]:
    if [(c.name, c.bits, len(c.x)) for c in accepted.quantizers] != [
        (c.name, c.bits, len(c.x)) for c in measured.quantizers
    ]:
        return ["quantizers appeared, went or changed their bits"]
    found = []
    for before, now in zip(accepted.quantizers, measured.quantizers, strict=True):
        for what in ("x", "y", "gradient"):
            pairs = zip(getattr(before, what), getattr(now, what), strict=True)
            if not all(math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-5) for a, b in pairs):
                found.append(f"quantizer {before.name}: its curve ({what}) changed")
    return found
