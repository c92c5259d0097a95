r"""From per-seed numbers to verdicts.

$$ \bar d \pm t_{0.975,\,n-1} \, \frac{s_d}{\sqrt n} $$

is the 95 % interval of the mean paired difference, with $s_d$ the sample standard deviation over $n$ seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from scipy.special import stdtrit

from reference_impls.kit.claims import Claim, Difference, Exact, Verdict
from reference_impls.kit.results import Outcome, shown


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, lower and upper end of the 95 % Student interval of the mean.

    Raises:
        ValueError: for fewer than two values: there is no spread to speak of.

    >>> [round(v, 3) for v in interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    if len(values) < 2:
        raise ValueError("an interval needs at least two seeds")
    mean = statistics.fmean(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def judge(claim: Claim, metrics: Mapping[str, Sequence[float]]) -> Outcome:
    """Compute the outcome of a claim from the values of every metric over the same seeds.

    Raises:
        KeyError: if the claim names a metric that `reproduce()` does not return.
        ValueError: if there are too few seeds for an interval.
    """
    return _judge_difference(claim, metrics) if isinstance(claim, Difference) else _judge_exact(claim, metrics)


def _judge_difference(claim: Difference, metrics: Mapping[str, Sequence[float]]) -> Outcome:
    differences = [a - b for a, b in zip(metrics[claim.metric], metrics[claim.baseline], strict=True)]
    mean, low, high = interval(differences)
    side = 1.0 if claim.direction == "above" else -1.0
    nearest, farthest = sorted((side * (low - claim.margin), side * (high - claim.margin)))
    verdict: Verdict = "reproduced" if nearest > 0 else "not reproduced" if farthest <= 0 else "inconclusive"
    bound = f"{'>' if side > 0 else '<'} {claim.margin:g}"
    return Outcome(claim.id, verdict, claim.quantity, bound, mean, low, high, claim.unit, claim.remark)


def _judge_exact(claim: Exact, metrics: Mapping[str, Sequence[float]]) -> Outcome:
    measured = metrics[claim.metric]
    expected = claim.expected
    wanted = metrics[expected] if isinstance(expected, str) else [expected] * len(measured)
    gaps = [a - b for a, b in zip(measured, wanted, strict=True)]
    excess = [abs(gap) if claim.relation == "==" else gap if claim.relation == "<=" else -gap for gap in gaps]
    worst = max(range(len(excess)), key=excess.__getitem__)
    verdict: Verdict = "reproduced" if excess[worst] <= claim.tolerance else "not reproduced"
    bound = f"{claim.relation} {shown(wanted[worst])}"
    low, high = min(measured), max(measured)
    return Outcome(claim.id, verdict, claim.quantity, bound, measured[worst], low, high, claim.unit, claim.remark)
