from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.verdicts import interval, judge


def test_interval_against_scipy() -> None:
    values = list(np.random.default_rng(0).normal(3.0, 2.0, size=20))
    low, high = stats.t.interval(0.95, 19, loc=np.mean(values), scale=stats.sem(values))
    assert interval(values) == pytest.approx((np.mean(values), low, high))
    with pytest.raises(ValueError, match="two seeds"):
        interval([1.0])


# Differences 1, 2, 3: mean 2, half-width 2.484.
NEW, OLD = [11.0, 12.0, 13.0], [10.0, 10.0, 10.0]


@pytest.mark.parametrize(
    ("margin", "direction", "verdict"),
    [
        (-1.0, "above", "reproduced"),
        (0.0, "above", "inconclusive"),
        (4.4, "above", "inconclusive"),
        (5.0, "above", "not reproduced"),
        (5.0, "below", "reproduced"),
        (4.0, "below", "inconclusive"),
        (-1.0, "below", "not reproduced"),
    ],
)
def test_difference_verdicts(margin: float, direction: str, verdict: str) -> None:
    claim = Difference("c", "new", "old", margin, "above" if direction == "above" else "below")
    outcome = judge(claim, {"new": NEW, "old": OLD})
    assert outcome.verdict == verdict
    assert (outcome.estimate, outcome.low, outcome.high) == pytest.approx((2.0, -0.4841, 4.4841), abs=1e-4)
    assert outcome.bound == f"{'>' if direction == 'above' else '<'} {margin:g}"


def test_no_effect_at_all_does_not_reproduce() -> None:
    assert judge(Difference("c", "new", "old"), {"new": OLD, "old": OLD}).verdict == "not reproduced"


@pytest.mark.parametrize(
    ("claim", "verdict", "estimate"),
    [
        (Exact("c", "x", "==", 2.0), "not reproduced", 3.0),
        (Exact("c", "x", "==", 2.0, tolerance=1.0), "reproduced", 3.0),
        (Exact("c", "x", "<=", 3.0), "reproduced", 3.0),
        (Exact("c", "x", "<=", 2.9), "not reproduced", 3.0),
        (Exact("c", "x", ">=", 2.0), "reproduced", 2.0),
        (Exact("c", "x", ">=", 2.1), "not reproduced", 2.0),
        (Exact("c", "x", "==", "y"), "reproduced", 2.0),
        (Exact("c", "x", "<=", "z"), "not reproduced", 3.0),
    ],
)
def test_exact_verdicts_are_of_the_worst_seed(claim: Claim, verdict: str, estimate: float) -> None:
    outcome = judge(claim, {"x": [2.0, 3.0], "y": [2.0, 3.0], "z": [9.0, 1.0]})
    assert (outcome.verdict, outcome.estimate) == (verdict, estimate)
    assert outcome.exact


def test_a_claim_on_nothing_is_refused() -> None:
    with pytest.raises(KeyError, match="old"):
        judge(Difference("c", "new", "old"), {"new": NEW})
